using System.Globalization;
using System.Text.Json;
using MetaQuery.Client;
using MetaQuery.Farm;

namespace MetaQuery.Cli.Output;

/// <summary>What a farm's server said, for people.</summary>
internal static class RemoteReport
{
    public static int ExitCodeOf(Job job) => job.State switch
    {
        JobStates.Completed => ExitCodes.Success,
        JobStates.CompletedWithErrors => ExitCodes.CompletedWithErrors,
        JobStates.Cancelled => ExitCodes.JobCancelled,
        JobStates.Failed => ExitCodes.JobFailed,
        _ => ExitCodes.Unexpected,
    };

    public static JobProgress ProgressOf(Job job)
    {
        var counts = job.Counts;
        return new JobProgress(
            JobLifecycle.TryParse(job.State, out var state) ? state : JobState.Running, counts.Prompts, counts.Prompts, counts.Prompts, counts.Images, counts.Denoised, counts.Written,
            counts.Failed, 0, job.ImagesPerSecond, job.SecondsLeft is { } seconds ? TimeSpan.FromSeconds(seconds) : null);
    }

    public static void Skipped(Job job)
    {
        foreach (var line in job.SkippedLines)
        {
            Console.Error.WriteLine(Failure.OneLine("skipped: " + line));
        }
    }

    public static void Submitted(Job job, bool isJson)
    {
        if (isJson)
        {
            Console.WriteLine(JsonSerializer.Serialize(job, FarmJson.Default.Job));
            return;
        }

        Console.Error.WriteLine($"farm: {job.Counts.Images} images of {job.Counts.Prompts} prompts; ./farm job watch {job.Id} shows how far they are");
        Console.WriteLine(job.Id);
    }

    public static void Ended(Job job)
    {
        Console.WriteLine($"{job.Id}: {job.State}, {job.Counts.Written} of {job.Counts.Images} images{(job.Counts.Failed > 0 ? $", {job.Counts.Failed} given up" : "")}");
        if (job.Reason is { } reason)
        {
            Console.Error.WriteLine("farm: " + Failure.OneLine(reason));
        }
    }

    public static void List(JobList jobs) => TextTable.Write(
        ["id", "name", "tenant", "state", "images", "failed", "images/s", "left", "created"],
        [
            .. jobs.Data.Select(job => (IReadOnlyList<string>)
            [
                job.Id, job.Name, job.Tenant, job.State, $"{job.Counts.Written}/{job.Counts.Images}", job.Counts.Failed > 0 ? $"{job.Counts.Failed}" : "",
                Rate(job.ImagesPerSecond), job.SecondsLeft is { } seconds ? ProgressView.Time(TimeSpan.FromSeconds(seconds)) : "", $"{job.CreatedAt.ToLocalTime():yyyy-MM-dd HH:mm}",
            ]),
        ]);

    public static void Show(Job job, FailureList? failures)
    {
        var settings = job.Settings;
        Line("job", $"{job.Id} {job.Name}");
        Line("state", job.State + (job.Reason is { } reason ? $": {Failure.OneLine(reason)}" : ""));
        Line("tenant", $"{job.Tenant}, {job.Priority}");
        Line("images", $"{job.Counts.Images} of {job.Counts.Prompts} prompts: {job.Counts.Planned} planned, {job.Counts.Encoded} encoded, {job.Counts.Denoised} denoised, {job.Counts.Written} written, {job.Counts.Failed} failed");
        Line("rate", job.ImagesPerSecond > 0 ? $"{Rate(job.ImagesPerSecond)} images/s{(job.SecondsLeft is { } left ? $", {ProgressView.Time(TimeSpan.FromSeconds(left))} left" : "")}" : "");
        Line("settings", string.Create(CultureInfo.InvariantCulture, $"{settings.Size}, {settings.Steps} steps, guidance {settings.Guidance}, seed {settings.Seed}, {settings.Format}, batches of {settings.BatchSize}, shards of {settings.SamplesPerShard}"));
        Line("numerics", job.Numerics ?? "");
        Line("created", Time(job.CreatedAt));
        Line("started", Time(job.StartedAt));
        Line("finished", Time(job.FinishedAt));
        Line("expires", Time(job.ExpiresAt));
        foreach (var failed in failures?.Data ?? [])
        {
            Console.WriteLine(Failure.OneLine($"failed    {failed.Key}: {failed.Reason}"));
        }
    }

    public static void Workers(WorkerList workers) => TextTable.Write(
        ["id", "roles", "device", "lane", "state", "slots", "busy", "images/s", "made", "silent", "work"],
        [
            .. workers.Data.Select(worker => (IReadOnlyList<string>)
            [
                worker.Id, string.Join('+', worker.Roles), worker.Device, worker.Lane, worker.State, $"{worker.Slots.Count}",
                string.Create(CultureInfo.InvariantCulture, $"{worker.BusyShare * 100:0} %"), Rate(worker.ImagesPerSecond), $"{worker.ImagesMade}",
                string.Create(CultureInfo.InvariantCulture, $"{worker.SecondsSinceHeartbeat:0.0} s"),
                string.Join(", ", worker.Slots.Where(slot => slot.Activity != "idle").Select(slot => $"{slot.Activity} {slot.Rows}")),
            ]),
        ]);

    public static void Silos(SiloList silos)
    {
        if (!silos.Cluster)
        {
            Console.Error.WriteLine("farm: this farm is no cluster: it has no silos (./farm worker list shows its workers)");
            return;
        }

        TextTable.Write(
            ["id", "roles", "state", "head", "slots", "busy", "images/s", "made", "cpu", "memory", "grains"],
            [
                .. silos.Data.Select(silo => (IReadOnlyList<string>)
                [
                    silo.Id, string.Join('+', silo.Roles), silo.State, silo.Head ? "yes" : "", $"{silo.Slots.Count(slot => slot.State == "running")}/{silo.Slots.Count}",
                    string.Create(CultureInfo.InvariantCulture, $"{(silo.Slots.Count > 0 ? silo.Slots.Average(slot => slot.BusyShare) : 0) * 100:0} %"),
                    Rate(silo.Slots.Sum(slot => slot.ImagesPerSecond)), $"{silo.Slots.Sum(slot => slot.ImagesMade)}",
                    string.Create(CultureInfo.InvariantCulture, $"{silo.CpuShare * 100:0} %"), $"{silo.MemoryBytes >> 20} MiB", $"{silo.Activations.Values.Sum()}",
                ]),
            ]);
    }

    public static void Show(Tenant tenant)
    {
        Line("tenant", tenant.Id);
        Line("weight", tenant.Weight.ToString(CultureInfo.InvariantCulture));
        Line("queued", tenant.MaxQueuedImages is { } queued ? $"at most {queued} images" : "no limit");
        Line("a day", tenant.ImagesPerDay is { } daily ? $"at most {daily} images" : "no limit");
        Line("source", tenant.Source == "set" ? "set by an admin; tenant reset gives its keys' back" : "its keys");
    }

    private static void Line(string name, string text)
    {
        if (text.Length > 0)
        {
            Console.WriteLine($"{name,-9} {text}");
        }
    }

    private static string Rate(double rate) => rate > 0 ? rate.ToString("0.0", CultureInfo.InvariantCulture) : "";

    private static string Time(DateTimeOffset? time) => time is { } known ? $"{known.ToLocalTime():yyyy-MM-dd HH:mm:ss}" : "";
}
