namespace MetaQuery.Kernels;

/// <summary>How activations and packed weights are stored; statistics and sums are float32 in either case.</summary>
public enum KernelType
{
    Float32 = 0,
    BFloat16 = 1,
}

/// <summary>Instructions for bfloat16 matrix products. They round differently, so they are part of the numerics fingerprint.</summary>
[Flags]
public enum KernelFeatures
{
    None = 0,
    Avx512BFloat16 = 1,
    AmxBFloat16 = 2,
}

/// <summary>
/// The fused kernels (native/kernels.h has what each computes) on plain pointers, for code that owns its buffers. Each row is
/// computed alone: a result depends neither on the other rows nor on the number of threads. Nothing here checks bounds.
/// </summary>
public static unsafe class RawKernels
{
    static readonly delegate* unmanaged<float*, float*, float*, nint, void*, int, nint, nint, nint, float, int, void> LayerNormModulateEntry =
        (delegate* unmanaged<float*, float*, float*, nint, void*, int, nint, nint, nint, float, int, void>)KernelLibrary.Address("layer_norm_modulate");

    static readonly delegate* unmanaged<float*, float*, float*, void*, int, nint, nint, float, int, void> LayerNormEntry =
        (delegate* unmanaged<float*, float*, float*, void*, int, nint, nint, float, int, void>)KernelLibrary.Address("layer_norm");

    static readonly delegate* unmanaged<void*, int, float*, float*, float*, void*, nint, nint, nint, nint, int, void> GluDepthwiseEntry =
        (delegate* unmanaged<void*, int, float*, float*, float*, void*, nint, nint, nint, nint, int, void>)KernelLibrary.Address("glu_depthwise");

    static readonly delegate* unmanaged<void*, int, void*, nint, nint, nint, nint, float, int, void> ReluLinearAttentionEntry =
        (delegate* unmanaged<void*, int, void*, nint, nint, nint, nint, float, int, void>)KernelLibrary.Address("relu_linear_attention");

    static readonly delegate* unmanaged<void*, int, float*, float*, float*, long*, float*, void*, nint, nint, nint, nint, nint, float, int, void> CrossAttentionEntry =
        (delegate* unmanaged<void*, int, float*, float*, float*, long*, float*, void*, nint, nint, nint, nint, nint, float, int, void>)KernelLibrary.Address("cross_attention");

    static readonly delegate* unmanaged<void*, int, float*, float*, void*, int, nint, nint, float, int, int, void> RmsNormEntry =
        (delegate* unmanaged<void*, int, float*, float*, void*, int, nint, nint, float, int, int, void>)KernelLibrary.Address("rms_norm");

    static readonly delegate* unmanaged<float*, void*, nint, void> RoundToBFloat16Entry =
        (delegate* unmanaged<float*, void*, nint, void>)KernelLibrary.Address("round_to_bfloat16");

    static readonly delegate* unmanaged<float*, float*, float*, float*, void*, int, nint, nint, nint, float, int, void> RmsNormAddEntry =
        (delegate* unmanaged<float*, float*, float*, float*, void*, int, nint, nint, nint, float, int, void>)KernelLibrary.Address("rms_norm_add");

    static readonly delegate* unmanaged<float*, void*, int, nint, nint, nint, int, void> PadPixelsEntry =
        (delegate* unmanaged<float*, void*, int, nint, nint, nint, int, void>)KernelLibrary.Address("pad_pixels");

    static readonly delegate* unmanaged<float*, float*, nint, nint, nint, nint, int, void> UpsampleShortcutEntry =
        (delegate* unmanaged<float*, float*, nint, nint, nint, nint, int, void>)KernelLibrary.Address("upsample_shortcut");

    static readonly delegate* unmanaged<float*, float*, float*, nint, nint, nint, nint, int, void> DepthwiseEntry =
        (delegate* unmanaged<float*, float*, float*, nint, nint, nint, nint, int, void>)KernelLibrary.Address("depthwise");

    /// <summary>0 baseline, 1 AVX2 with FMA, 2 AVX-512.</summary>
    public static int Level => KernelLibrary.Level;

    /// <summary>What this CPU has and the operating system grants.</summary>
    public static KernelFeatures Features => KernelLibrary.Features;

    /// <summary>out = LayerNorm(x) · (1 + scale) + shift; x [rows · tokens, channels], shift and scale one row of channels every <paramref name="modulationStride"/> floats.</summary>
    public static void LayerNormModulate(
        float* x, float* shift, float* scale, long modulationStride, void* output, KernelType type, long rows, long tokens, long channels, float epsilon, int threads) =>
        LayerNormModulateEntry(x, shift, scale, (nint)modulationStride, output, (int)type, (nint)rows, (nint)tokens, (nint)channels, epsilon, threads);

    /// <summary>out = LayerNorm(x) · weight + bias; x [tokens, channels].</summary>
    public static void LayerNorm(float* x, float* weight, float* bias, void* output, KernelType type, long tokens, long channels, float epsilon, int threads) =>
        LayerNormEntry(x, weight, bias, output, (int)type, (nint)tokens, (nint)channels, epsilon, threads);

    /// <summary>The gated feed-forward between its projections: x [rows, height · width, 2 · channels] to [rows, height · width, channels]; weight [9, 2 · channels].</summary>
    public static void GluDepthwise(
        void* x, KernelType type, float* inputBias, float* weight, float* bias, void* output, long rows, long height, long width, long channels, int threads) =>
        GluDepthwiseEntry(x, (int)type, inputBias, weight, bias, output, (nint)rows, (nint)height, (nint)width, (nint)channels, threads);

    /// <summary>qkv [rows, tokens, 3 · heads · headSize] to [rows, tokens, heads · headSize].</summary>
    public static void ReluLinearAttention(void* qkv, KernelType type, void* output, long rows, long tokens, long heads, long headSize, float epsilon, int threads) =>
        ReluLinearAttentionEntry(qkv, (int)type, output, (nint)rows, (nint)tokens, (nint)heads, (nint)headSize, epsilon, threads);

    /// <summary>query [tokens, heads · headSize] of one row against keys [heads, headSize, length] and values [heads, length, headSize].</summary>
    public static void CrossAttention(
        void* query, KernelType type, float* keys, float* values, void* output, long tokens, long heads, long headSize, long length, float scale, int threads) =>
        CrossAttentionEntry(
            query, (int)type, null, keys, values, null, null, output, 1, (nint)tokens, (nint)heads, (nint)headSize, (nint)length, scale, threads);

    /// <summary>out = activation(x / √(mean x² + ε) · weight + bias); a null weight is one, a null bias zero. In place is allowed.</summary>
    public static void RmsNorm(
        void* x, KernelType type, float* weight, float* bias, void* output, KernelType outputType, long tokens, long channels, float epsilon, KernelActivation activation, int threads) =>
        RmsNormEntry(x, (int)type, weight, bias, output, (int)outputType, (nint)tokens, (nint)channels, epsilon, (int)activation, threads);

    /// <summary>Rounds to nearest even.</summary>
    public static void RoundToBFloat16(float* x, void* output, long count) => RoundToBFloat16Entry(x, output, (nint)count);

    /// <summary>stream += RmsNorm(update) · weight + bias, [height · width, channels]; a copy with a zero border too, unless <paramref name="padded"/> is null.</summary>
    public static void RmsNormAdd(
        float* update, float* weight, float* bias, float* stream, void* padded, KernelType type, long height, long width, long channels, float epsilon, int threads) =>
        RmsNormAddEntry(update, weight, bias, stream, padded, (int)type, (nint)height, (nint)width, (nint)channels, epsilon, threads);

    /// <summary>The interior of a copy with a border of one pixel, which is not touched.</summary>
    public static void PadPixels(float* stream, void* padded, KernelType type, long height, long width, long channels, int threads) =>
        PadPixelsEntry(stream, padded, (int)type, (nint)height, (nint)width, (nint)channels, threads);

    /// <summary>[height · width, inputs] to [4 · height · width, outputs]: each channel repeated in place, then shuffled into pixels.</summary>
    public static void UpsampleShortcut(float* stream, float* output, long height, long width, long inputs, long outputs, int threads) =>
        UpsampleShortcutEntry(stream, output, (nint)height, (nint)width, (nint)inputs, (nint)outputs, threads);

    /// <summary>A depth-wise convolution, zeros beyond the edges; weight [kernel · kernel, channels].</summary>
    public static void Depthwise(float* x, float* weight, float* output, long height, long width, long channels, long kernel, int threads) =>
        DepthwiseEntry(x, weight, output, (nint)height, (nint)width, (nint)channels, (nint)kernel, threads);
}
