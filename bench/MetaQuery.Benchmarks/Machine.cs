using System.Globalization;

namespace MetaQuery.Benchmarks;

/// <summary>The machine, and the settings that serve both sides best on it.</summary>
internal static class Machine
{
    private static readonly Lazy<Dictionary<string, string>> Processor = new(ReadProcessor);

    public static string Name => Processor.Value.GetValueOrDefault("model name", "unknown processor");

    public static int Cores => Environment.ProcessorCount;

    private static bool Has(string feature) => Processor.Value.GetValueOrDefault("flags", "").Split(' ').Contains(feature);

    /// <summary>
    /// Environment of a worker with this many threads. Read by OpenBLAS, OpenMP, ATen and malloc when they are loaded, so it must stand before
    /// the process starts. Our own loader makes the same settings by itself; both sides get them here, so that nothing differs.
    /// </summary>
    public static IReadOnlyDictionary<string, string> Settings(int threads)
    {
        var count = threads.ToString(CultureInfo.InvariantCulture);
        var settings = new Dictionary<string, string>(StringComparer.Ordinal)
        {
            ["OMP_NUM_THREADS"] = count,
            ["OPENBLAS_NUM_THREADS"] = count,
            ["MKL_NUM_THREADS"] = count,
            // Large blocks stay with the process: otherwise a step at 64 rows takes 195,000 page faults.
            ["MALLOC_TRIM_THRESHOLD_"] = "8589934592",
            ["MALLOC_MMAP_THRESHOLD_"] = "4294967296",
            ["MALLOC_TOP_PAD_"] = "268435456",
        };
        if (Has("avx512f") && Has("avx512dq") && Has("avx512bw") && Has("avx512vl"))
        {
            settings["ATEN_CPU_CAPABILITY"] = "avx512"; // ATen takes AVX2 by itself
            if (!Name.Contains("Intel", StringComparison.Ordinal))
            {
                settings["OPENBLAS_CORETYPE"] = "SkylakeX"; // OpenBLAS would find them itself, unless the environment names AVX2 kernels: half the speed
            }
        }

        return settings;
    }

    private static Dictionary<string, string> ReadProcessor()
    {
        const string Path = "/proc/cpuinfo";
        if (!File.Exists(Path))
        {
            return [];
        }

        return File.ReadLines(Path)
            .TakeWhile(line => line.Length > 0)
            .Select(line => line.Split(':', 2, StringSplitOptions.TrimEntries))
            .Where(pair => pair.Length == 2)
            .ToDictionary(pair => pair[0], pair => pair[1], StringComparer.Ordinal);
    }
}
