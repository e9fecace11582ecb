using System.Globalization;
using System.Text.Json.Nodes;

namespace MetaQuery.Benchmarks.Scale;

/// <summary>A model of real shapes, module by module: seconds, GFLOP/s and share of this machine's GEMM peak in the same run; and what loading takes.</summary>
internal sealed class ScaleSuite(BenchmarkOptions options, BenchmarkReport report)
{
    private static readonly (string Key, string What)[] Modules =
    [
        ("prefill", "language model, prompt and queries"), ("connector", "connector"), ("context", "transformer, per condition"),
        ("step", "transformer, a step with guidance (2 rows)"), ("decode", "autoencoder, a picture"),
    ];

    public void Run(int threads)
    {
        using var ours = WorkerProcess.Scale(options, threads);
        foreach (var (key, what) in Modules)
        {
            if (options.Modules.Count > 0 && !options.Modules.Contains(key))
            {
                continue;
            }

            Console.Error.WriteLine($"bench: {what}");
            var answer = ours.Do(new JsonObject { ["do"] = key, ["repeats"] = options.Rounds });
            double seconds = Number(answer, "least"), work = Number(answer, "gflop"), peak = Number(answer, "peak");
            report.AddModule(key, $"{what}{Shape(answer)}", seconds, work / seconds, work > 0 ? work / seconds / peak : null);
            report.Json[key + "Gflop"] = Math.Round(work, 3);
            report.Json[key + "GemmPeakGflopPerSecond"] = Math.Round(peak, 1);
            if (answer["load"] is { } load)
            {
                report.Say(key + "Load", load.GetValue<string>());
            }
        }

        report.Say("memory", ours.Do(new JsonObject { ["do"] = "memory" })["text"]!.GetValue<string>());
    }

    private static string Shape(JsonObject answer) => answer["shape"] is { } shape ? $", {shape.GetValue<string>()}" : "";

    private static double Number(JsonObject answer, string key) => answer[key]!.GetValue<double>();

    /// <summary>A gibibyte figure of /proc/self/status.</summary>
    public static string Memory()
    {
        var fields = File.ReadLines("/proc/self/status")
            .Select(line => line.Split(':', 2, StringSplitOptions.TrimEntries))
            .Where(pair => pair[0] is "VmHWM" or "VmRSS" or "RssAnon" or "RssFile");
        return string.Join(", ", fields.Select(pair => string.Create(
            CultureInfo.InvariantCulture, $"{pair[0]} {double.Parse(pair[1].Split(' ')[0], CultureInfo.InvariantCulture) / (1 << 20):0.00} GiB")));
    }
}
