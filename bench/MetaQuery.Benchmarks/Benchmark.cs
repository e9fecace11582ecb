namespace MetaQuery.Benchmarks;

/// <summary>All parts, in order.</summary>
internal static class Benchmark
{
    /// <exception cref="BenchmarkException">A part could not be measured.</exception>
    public static BenchmarkReport Run(BenchmarkOptions options)
    {
        var report = new BenchmarkReport();
        report.Say("machine", $"{Machine.Name}, {Machine.Cores} cores");
        report.Say("dtype", options.Dtype);
        report.Say("settings", string.Join(' ', Machine.Settings(1).Select(setting => $"{setting.Key}={setting.Value}")));
        Modules(options, report);
        var bulk = new BulkSuite(options, report);
        var quality = new QualitySuite(options, report);
        Part("bulk", bulk.Bulk);
        Part("slots", bulk.Slots);
        Part("quality", quality.Pictures);
        Part("start", quality.Start);
        Part("scale", () => new Scale.ScaleSuite(options, report).Run(options.Threads));
        Part("overhead", () =>
        {
            var small = TensorOverhead.Measure();
            report.Add("smallOperatorMicroseconds", "one small addition through the binding", "µs", small.ManagedNanoseconds / 1000);
            report.Add("bindingOverheadMicroseconds", "of which the binding's own", "µs", small.OverheadNanoseconds / 1000);
        });
        return report;

        void Part(string name, Action measure)
        {
            if (options.Includes(name))
            {
                Console.Error.WriteLine($"bench: {name}");
                measure();
            }
        }
    }

    private static void Modules(BenchmarkOptions options, BenchmarkReport report)
    {
        if (!((string[])["gemm", "condition", "step", "decode"]).Any(options.Includes))
        {
            return;
        }

        using var ours = WorkerProcess.Ours(options, options.Dtype, slots: 1, threads: 1);
        using var peer = WorkerProcess.Peer(options, options.Dtype, threads: 1);
        report.Say("peer", $"torch {peer.Ready["torch"]}, ATen {peer.Ready["aten"]}");
        var modules = new ModuleSuite(options, report, ours, peer);
        Console.Error.WriteLine("bench: modules, one thread");
        modules.Gemm(); // the other figures are a share of it
        foreach (var (name, measure) in ((string, Action)[])[("condition", modules.Condition), ("step", modules.Step), ("decode", modules.Decode)])
        {
            if (options.Includes(name))
            {
                measure();
            }
        }
    }
}
