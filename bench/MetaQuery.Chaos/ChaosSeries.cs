using System.Diagnostics;

namespace MetaQuery.Chaos;

/// <summary>How a series of runs came out.</summary>
/// <param name="Wrong">What is wrong, one line each; empty where every run came out as without faults.</param>
/// <param name="Reclaimed">Items taken back from workers that were held for dead.</param>
/// <param name="Refused">Late reports that the fence refused.</param>
internal sealed record ChaosOutcome(
    int Runs, long Images, int Jobs, long Reclaimed, long Refused, IReadOnlyList<LoggedFault> Faults, IReadOnlyList<string> Wrong, TimeSpan Elapsed);

/// <summary>Runs of a few faults each, until there were as many faults as asked for: what lasts a run is seen to be over at its end.</summary>
internal static class ChaosSeries
{
    private const int FaultsOfOneRun = 20; // or up to 39 where they do not come out even

    /// <param name="faults">In all.</param>
    /// <param name="options">Seed of the first run; the next ones count on from it.</param>
    /// <param name="folder">Takes logs and outputs; emptied run by run where all is well.</param>
    /// <param name="log">Is told each fault.</param>
    /// <param name="stop">Ends the series at once: no process and no disk of it is left.</param>
    /// <exception cref="ChaosException">The farm stands still, or the series cannot be run here.</exception>
    /// <exception cref="OperationCanceledException">It was stopped.</exception>
    public static async Task<ChaosOutcome> ExecuteAsync(int faults, ChaosOptions options, string folder, ChaosLog log, CancellationToken stop)
    {
        var clock = Stopwatch.StartNew();
        Directory.CreateDirectory(folder);
        var cases = JobCase.Create(folder, options.Prompts, options.Steps);
        foreach (var job in cases)
        {
            log.Say($"the job {job.Name} without faults: {job.Images} images");
            await RunEmbeddedAsync(job, options.Model, ReferenceOf(folder, job), stop);
        }

        var wrong = new List<string>();
        long images = 0, reclaimed = 0, refused = 0;
        var jobs = 0;
        var runs = Math.Max(1, faults / FaultsOfOneRun);
        for (var run = 1; run <= runs; run++)
        {
            var ofRun = (faults * run / runs) - (faults * (run - 1) / runs);
            stop.ThrowIfCancellationRequested();
            var runFolder = Path.Combine(folder, $"run-{run}");
            Directory.CreateDirectory(runFolder);
            using (var farm = new ChaosFarm(runFolder, options))
            {
                var chaos = new ChaosRun(run, options with { Faults = ofRun, Seed = options.Seed + run - 1 }, cases, log, farm, stop);
                var found = new List<string>(await chaos.ExecuteAsync());
                foreach (var (id, job) in chaos.Jobs)
                {
                    found.AddRange(OutputCheck.Compare(job, Path.Combine(farm.Disk.DataFolder, "jobs", id, "out"), ReferenceOf(folder, job)).Select(line => $"{id} ({job.Name}): {line}"));
                }

                images += chaos.Images;
                jobs += chaos.Jobs.Count;
                reclaimed += chaos.Reclaimed;
                refused += chaos.Refused;
                wrong.AddRange(found.Select(line => $"run {run}: {line}"));
                log.Say($"run {run} of seed {options.Seed + run - 1}: {ofRun} faults, {chaos.Jobs.Count} jobs, {chaos.Images} images, {chaos.Reclaimed} items taken back, {chaos.Refused} late reports refused; {(found.Count == 0 ? "every byte as without faults" : $"{found.Count} things are wrong")}");
            }

            if (wrong.Count == 0)
            {
                Directory.Delete(runFolder, recursive: true);
            }
        }

        return new ChaosOutcome(runs, images, jobs, reclaimed, refused, log.Faults, wrong, clock.Elapsed);
    }

    private static string ReferenceOf(string folder, JobCase job) => Path.Combine(folder, $"reference-{job.Name}");

    private static async Task RunEmbeddedAsync(JobCase job, string model, string outFolder, CancellationToken stop)
    {
        using var process = new ChildProcess("the embedded run", job.EmbeddedArguments(model, outFolder), outFolder + ".log", new Dictionary<string, string>());
        if (await process.WaitAsync(stop) is not 0 and var code)
        {
            throw new ChaosException($"the embedded run of {job.Name} ended with code {code}: {process.LastWords()}");
        }
    }
}
