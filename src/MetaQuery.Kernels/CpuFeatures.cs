namespace MetaQuery.Kernels;

/// <summary>What this machine's processor can do, as the operating system offers it.</summary>
public static class CpuFeatures
{
    static readonly HashSet<string> Flags = ReadFlags();

    /// <summary>AVX2 and fused multiply-add.</summary>
    public static bool HasAvx2 { get; } = Flags.Contains("avx2") && Flags.Contains("fma");

    /// <summary>AVX-512 F, DQ, BW and VL: what libtorch's and OpenBLAS's AVX-512 kernels need.</summary>
    public static bool HasAvx512 { get; } = new[] { "avx512f", "avx512dq", "avx512bw", "avx512vl" }.All(Flags.Contains);

    /// <summary>Products of bfloat16 pairs in vector registers.</summary>
    public static bool HasAvx512Bf16 { get; } = HasAvx512 && Flags.Contains("avx512_bf16");

    /// <summary>Products of bfloat16 tiles: five to ten times float32's speed.</summary>
    public static bool HasAmxBf16 { get; } = HasAvx512 && Flags.Contains("amx_bf16") && Flags.Contains("amx_tile");

    /// <summary>"AMD EPYC", say; for reports, never for decisions.</summary>
    public static string Model { get; } = Lines("model name").FirstOrDefault("unknown processor");

    static HashSet<string> ReadFlags() => [.. Lines("flags").Take(1).SelectMany(line => line.Split(' '))];

    static IEnumerable<string> Lines(string field) =>
        from line in File.Exists("/proc/cpuinfo") ? File.ReadLines("/proc/cpuinfo") : []
        let colon = line.IndexOf(':', StringComparison.Ordinal)
        where colon > 0 && line[..colon].Trim() == field
        select line[(colon + 1)..].Trim();
}
