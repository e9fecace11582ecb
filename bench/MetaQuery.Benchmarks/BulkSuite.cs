using System.Diagnostics;
using System.Text.Json.Nodes;

namespace MetaQuery.Benchmarks;

/// <summary>Whole jobs on all cores: ours through the embedded farm, shards and PNGs included; the peer's without any output.</summary>
internal sealed class BulkSuite(BenchmarkOptions options, BenchmarkReport report)
{
    private const int Batch = 32;

    private readonly IReadOnlyList<string> _prompts = SamplePrompts.Take(options.Prompts);

    // A round takes half a minute, long enough to be steady by itself.
    private int Rounds => Math.Min(3, options.Rounds);

    private int Images => options.Prompts * BenchmarkOptions.ImagesPerPrompt;

    /// <summary>One process per core on the peer's side: that is its fastest way, too.</summary>
    public void Bulk()
    {
        using var ours = WorkerProcess.Ours(options, options.Dtype, slots: Machine.Cores, threads: 1);
        var tokens = Tokens.Of(ours, _prompts);
        var reference = new List<WorkerProcess>();
        var best = new List<WorkerProcess>();
        try
        {
            for (var i = 0; i < Machine.Cores; i++)
            {
                reference.Add(WorkerProcess.Peer(options, "float32", threads: 1));
                best.Add(options.Dtype == "float32" ? reference[i] : WorkerProcess.Peer(options, options.Dtype, threads: 1));
            }

            Warm(ours);
            var beside = Paired.Measure(Rounds, () => Ours(ours), () => Peer(reference, tokens, "reference"));
            report.Add("bulkOverReference", $"bulk, all {Machine.Cores} cores; peer: reference style, float32", "images/s",
                Images / beside.OursSeconds, Images / beside.PeerSeconds, beside.Ratio);
            beside = Paired.Measure(Rounds, () => Ours(ours), () => Peer(best, tokens, "cached_context"));
            report.Add("bulkOverPeerBest", $"bulk; peer: all cached, {options.Dtype}", "images/s",
                Images / beside.OursSeconds, Images / beside.PeerSeconds, beside.Ratio);
        }
        finally
        {
            foreach (var worker in reference.Union(best))
            {
                worker.Dispose();
            }
        }
    }

    /// <summary>As many slots of one thread as there are cores, against one slot with all threads.</summary>
    public void Slots()
    {
        if (Machine.Cores < 2)
        {
            return;
        }

        using var many = WorkerProcess.Ours(options, options.Dtype, slots: Machine.Cores, threads: 1);
        using var one = WorkerProcess.Ours(options, options.Dtype, slots: 1, threads: Machine.Cores);
        Warm(many);
        Warm(one);
        var pair = Paired.Measure(Rounds, () => Ours(many), () => Ours(one));
        report.AddRatio("slotsRatio", $"{Machine.Cores} slots x 1 thread over 1 slot x {Machine.Cores} threads, bulk", pair.Ratio);
    }

    private void Warm(WorkerProcess worker) =>
        worker.Do(Command(SamplePrompts.Take(Math.Max(1, Machine.Cores)), "ours"));

    private double Ours(WorkerProcess worker)
    {
        var clock = Stopwatch.StartNew();
        worker.Do(Command(_prompts, "ours"));
        return clock.Elapsed.TotalSeconds;
    }

    private double Peer(List<WorkerProcess> workers, Tokens tokens, string mode)
    {
        var share = (tokens.Prompts.Count + workers.Count - 1) / workers.Count;
        var parts = tokens.Prompts.Chunk(share).ToList();
        var clock = Stopwatch.StartNew();
        foreach (var (worker, part) in workers.Zip(parts))
        {
            var command = Command([], mode);
            command["prompts"] = Tokens.Json(part);
            command["empty"] = Tokens.Json(tokens.Empty);
            worker.Send(command);
        }

        foreach (var (worker, _) in workers.Zip(parts))
        {
            worker.Answer();
        }

        return clock.Elapsed.TotalSeconds;
    }

    private static JsonObject Command(IEnumerable<string> prompts, string mode) => new()
    {
        ["do"] = "bulk",
        ["mode"] = mode,
        ["prompts"] = new JsonArray([.. prompts.Select(text => JsonValue.Create(text))]),
        ["images"] = BenchmarkOptions.ImagesPerPrompt,
        ["steps"] = BenchmarkOptions.NumInferenceSteps,
        ["guidance"] = BenchmarkOptions.GuidanceScale,
        ["batch"] = Batch,
        ["repeats"] = 1,
    };
}
