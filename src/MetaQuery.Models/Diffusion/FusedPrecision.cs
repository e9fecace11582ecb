using MetaQuery.Kernels;

namespace MetaQuery.Models.Diffusion;

/// <summary>What matrix products of the fused transformer are computed in; stream, norms and sums are float32 in either case.</summary>
public enum FusedPrecision
{
    Float32,
    BFloat16,
}

/// <summary>Which processors the fused forms run on.</summary>
internal static class FusedPrecisions
{
    private const int Avx512Level = 2;

    /// <summary>Why this CPU has no fast products of this precision, or null. With AVX2, bfloat16 is widened on the way; the AVX-512 kernels have instructions for it or are slow.</summary>
    public static string? WhyUnsupported(this FusedPrecision precision) =>
        RawKernels.Level < 1 ? "the CPU has no AVX2"
        : precision == FusedPrecision.BFloat16 && RawKernels.Level == Avx512Level && RawKernels.Features == KernelFeatures.None
            ? "the CPU has AVX-512, but neither AVX512-BF16 nor AMX"
        : null;
}
