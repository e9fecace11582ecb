using System.Diagnostics;
using System.Text.Json.Nodes;

namespace MetaQuery.Benchmarks;

/// <summary>What bfloat16 costs in pictures, and how long a person waits for the first one.</summary>
internal sealed class QualitySuite(BenchmarkOptions options, BenchmarkReport report)
{
    private const int Prompts = 12; // x 4 images = 48 pictures

    /// <summary>PSNR of the bfloat16 pictures against the float32 pictures of the same prompts and seeds.</summary>
    public void Pictures()
    {
        var low = Pictures("bfloat16");
        var high = Pictures("float32");
        if (low.Count != high.Count || low.Count != Prompts * BenchmarkOptions.ImagesPerPrompt)
        {
            throw new BenchmarkException($"{low.Count} bfloat16 and {high.Count} float32 pictures, expected {Prompts * BenchmarkOptions.ImagesPerPrompt} of each");
        }

        var psnr = low.Zip(high, Psnr).Order().ToList();
        report.Add("bfloat16MedianPsnr", $"bfloat16 against float32, median of {psnr.Count} pictures", "dB", Paired.Median(psnr));
        report.Add("bfloat16LeastPsnr", "the least of them", "dB", psnr[0]);
    }

    /// <summary>From the shell's start of the script to its end, with one picture on disk; files are in the page cache.</summary>
    public void Start()
    {
        var folder = Directory.CreateTempSubdirectory("metaquery-start-");
        try
        {
            var seconds = Enumerable.Range(0, 6).Select(i => Generate(Path.Combine(folder.FullName, $"{i}"))).Skip(1).ToList();
            report.Add("startToFirstImageSeconds", "start of a warm process to its first image", "s", Paired.Median(seconds));
        }
        finally
        {
            folder.Delete(recursive: true);
        }
    }

    private static double Generate(string folder)
    {
        var clock = Stopwatch.StartNew();
        using var process = Process.Start(new ProcessStartInfo(
            Repository.PathOf("farm"), ["generate", SamplePrompts.All[0], "-n", "1", "--out", folder])
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        })!;
        var error = process.StandardError.ReadToEndAsync();
        process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        return process.ExitCode == 0
            ? clock.Elapsed.TotalSeconds
            : throw new BenchmarkException($"generate ended with code {process.ExitCode}: {error.GetAwaiter().GetResult().Trim()}");
    }

    private List<byte[]> Pictures(string dtype)
    {
        using var worker = WorkerProcess.Ours(options, dtype, slots: Machine.Cores, threads: 1);
        var answer = worker.Do(new JsonObject
        {
            ["do"] = "pictures",
            ["prompts"] = new JsonArray([.. SamplePrompts.Take(Prompts).Select(text => JsonValue.Create(text))]),
            ["images"] = BenchmarkOptions.ImagesPerPrompt,
            ["steps"] = BenchmarkOptions.NumInferenceSteps,
            ["guidance"] = BenchmarkOptions.GuidanceScale,
        });
        return [.. answer["pixels"]!.AsArray().Select(picture => Convert.FromBase64String(picture!.GetValue<string>()))];
    }

    private static double Psnr(byte[] actual, byte[] expected)
    {
        if (actual.Length != expected.Length)
        {
            throw new BenchmarkException($"pictures of {actual.Length} and {expected.Length} bytes");
        }

        var squares = actual.Zip(expected, (a, b) => (double)(a - b) * (a - b)).Average();
        return squares == 0 ? double.PositiveInfinity : 10 * Math.Log10(255 * 255 / squares);
    }
}
