using System.Runtime.CompilerServices;
using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Kernels;

/// <summary>What a kernel applies last.</summary>
public enum KernelActivation
{
    None = 0,
    Relu = 1,
    Silu = 2,

    /// <summary>GELU in its tanh form; matrix products only.</summary>
    TanhGelu = 3,
}

/// <summary>
/// Fused CPU kernels for inference: each does in one pass what would be several libtorch calls with large temporaries between
/// them. Activations are float32 or bfloat16; statistics and sums are float32. No autograd. A row's result depends on nothing
/// but that row: not on its batch, its position or the number of threads. The arithmetic is in native/kernels.cpp.
/// </summary>
public static unsafe class FusedKernels
{
    static readonly delegate* unmanaged<void*, void*, void*, nint, void*, int, nint, nint, nint, float, int, void> layerNormModulate =
        (delegate* unmanaged<void*, void*, void*, nint, void*, int, nint, nint, nint, float, int, void>)KernelLibrary.Address("layer_norm_modulate");
    static readonly delegate* unmanaged<void*, void*, int, void*, void*, nint, nint, nint, nint, int, void> gatedResidual =
        (delegate* unmanaged<void*, void*, int, void*, void*, nint, nint, nint, nint, int, void>)KernelLibrary.Address("gated_residual");
    static readonly delegate* unmanaged<void*, int, void*, void*, void*, void*, nint, nint, nint, nint, int, void> gluDepthwise =
        (delegate* unmanaged<void*, int, void*, void*, void*, void*, nint, nint, nint, nint, int, void>)KernelLibrary.Address("glu_depthwise");
    static readonly delegate* unmanaged<void*, int, void*, nint, nint, nint, nint, float, int, void> reluLinearAttention =
        (delegate* unmanaged<void*, int, void*, nint, nint, nint, nint, float, int, void>)KernelLibrary.Address("relu_linear_attention");
    static readonly delegate* unmanaged<void*, int, void*, void*, void*, void*, void*, void*, nint, nint, nint, nint, nint, float, int, void> crossAttention =
        (delegate* unmanaged<void*, int, void*, void*, void*, void*, void*, void*, nint, nint, nint, nint, nint, float, int, void>)KernelLibrary.Address("cross_attention");
    static readonly delegate* unmanaged<void*, int, void*, void*, void*, int, nint, nint, float, int, int, void> rmsNorm =
        (delegate* unmanaged<void*, int, void*, void*, void*, int, nint, nint, float, int, int, void>)KernelLibrary.Address("rms_norm");
    static readonly delegate* unmanaged<void*, int, void*, nint, nint, int, void> swiglu =
        (delegate* unmanaged<void*, int, void*, nint, nint, int, void>)KernelLibrary.Address("swiglu");
    static readonly delegate* unmanaged<void*, int, void*, nint, nint, int, int, void> biasActivation =
        (delegate* unmanaged<void*, int, void*, nint, nint, int, int, void>)KernelLibrary.Address("bias_activation");

    /// <summary>The instruction set in use (0 baseline, 1 AVX2, 2 AVX-512): part of the numerics fingerprint.</summary>
    public static int InstructionLevel => KernelLibrary.Level;

    /// <summary>LayerNorm without affine weights, then <c>· (1 + scale) + shift</c> (Sana's norm1, norm2 and norm_out).</summary>
    /// <param name="x">[B, L, C], float32.</param>
    /// <param name="shift">[B, C] or a column slice of a wider [B, *] matrix, float32; rows may be strided.</param>
    /// <param name="scale">As <paramref name="shift"/>, with the same row stride.</param>
    /// <param name="epsilon">Added to the variance.</param>
    /// <param name="dtype">float32 or bfloat16: the result's.</param>
    /// <returns>[B, L, C].</returns>
    public static Tensor LayerNormModulate(Tensor x, Tensor shift, Tensor scale, float epsilon, ScalarType dtype)
    {
        var (rows, tokens, channels) = Dimensions(x, nameof(x));
        Require(x, ScalarType.Float32, nameof(x));
        if (shift.stride(0) != scale.stride(0)) throw new ArgumentException($"row strides of shift {shift.stride(0)} and scale {scale.stride(0)} differ");
        var result = empty([rows, tokens, channels], dtype: dtype);
        layerNormModulate(Pointer(x), RowsOf(shift, rows, channels, nameof(shift)), RowsOf(scale, rows, channels, nameof(scale)), (nint)shift.stride(0),
            Pointer(result), Type(result), (nint)rows, (nint)tokens, (nint)channels, epsilon, get_num_threads());
        return result;
    }

    /// <summary><c>x += gate · (update + bias)</c>, in place.</summary>
    /// <param name="x">[B, L, C], float32: the residual stream, changed.</param>
    /// <param name="update">[B, L, C], float32 or bfloat16.</param>
    /// <param name="bias">[C], float32, or null.</param>
    /// <param name="gate">[B, C] or a column slice, float32, or null for 1.</param>
    public static void GatedResidual(Tensor x, Tensor update, Tensor? bias = null, Tensor? gate = null)
    {
        var (rows, tokens, channels) = Dimensions(x, nameof(x));
        Require(x, ScalarType.Float32, nameof(x));
        RequireCount(update, rows * tokens * channels, nameof(update));
        gatedResidual(Pointer(x), Pointer(update), Type(update), Vector(bias, channels, nameof(bias)),
            gate is null ? null : RowsOf(gate, rows, channels, nameof(gate)), gate is null ? 0 : (nint)gate.stride(0),
            (nint)rows, (nint)tokens, (nint)channels, get_num_threads());
    }

    /// <summary>GLUMBConv between its projections: SiLU of (x + inputBias), 3 × 3 depthwise convolution, value · SiLU(gate).</summary>
    /// <param name="x">[B, height · width, 2C], float32 or bfloat16: conv_inverted's output, tokens last-but-one.</param>
    /// <param name="inputBias">[2C], float32, or null.</param>
    /// <param name="weight">[9, 2C], float32: conv_depth's weight [2C, 1, 3, 3], transposed to tap-major.</param>
    /// <param name="bias">[2C], float32, or null.</param>
    /// <param name="height">Of the grid, in latents.</param>
    /// <param name="width">Of the grid, in latents.</param>
    /// <returns>[B, height · width, C], dtype of <paramref name="x"/>.</returns>
    public static Tensor GluDepthwise(Tensor x, Tensor? inputBias, Tensor weight, Tensor? bias, long height, long width)
    {
        var (rows, tokens, wide) = Dimensions(x, nameof(x));
        if (tokens != height * width) throw new ArgumentException($"{tokens} tokens for a grid of {height} x {width}", nameof(x));
        if (wide % 2 != 0) throw new ArgumentException($"{wide} channels cannot be cut into value and gate", nameof(x));
        Require(weight, ScalarType.Float32, nameof(weight));
        RequireCount(weight, 9 * wide, nameof(weight));
        var result = empty([rows, tokens, wide / 2], dtype: x.dtype);
        gluDepthwise(Pointer(x), Type(x), Vector(inputBias, wide, nameof(inputBias)), Pointer(weight), Vector(bias, wide, nameof(bias)),
            Pointer(result), (nint)rows, (nint)height, (nint)width, (nint)(wide / 2), get_num_threads());
        return result;
    }

    /// <summary>Sana's linear attention: <c>relu(q) (relu(k)ᵀ v) / (relu(q) Σ relu(k) + epsilon)</c> per head, sums in float32.</summary>
    /// <param name="qkv">[B, L, 3 · H · D]: all q, then all k, then all v; float32 or bfloat16.</param>
    /// <param name="heads">H.</param>
    /// <param name="epsilon">1e-15 in Sana.</param>
    /// <returns>[B, L, H · D], dtype of <paramref name="qkv"/>.</returns>
    public static Tensor ReluLinearAttention(Tensor qkv, long heads, float epsilon)
    {
        var (rows, tokens, wide) = Dimensions(qkv, nameof(qkv));
        if (wide % (3 * heads) != 0) throw new ArgumentException($"{wide} channels are not 3 x {heads} heads", nameof(qkv));
        var result = empty([rows, tokens, wide / 3], dtype: qkv.dtype);
        reluLinearAttention(Pointer(qkv), Type(qkv), Pointer(result), (nint)rows, (nint)tokens, (nint)heads, (nint)(wide / 3 / heads), epsilon, get_num_threads());
        return result;
    }

    /// <summary>softmax(q kᵀ · scale + mask) v against keys and values that were prepared once per condition.</summary>
    /// <param name="query">[B, L, H · D], float32 or bfloat16.</param>
    /// <param name="queryBias">[H · D], float32, added to the query first, or null.</param>
    /// <param name="keys">[contexts, H, D, S], float32: transposed, so that scores of sixteen positions are one vector.</param>
    /// <param name="values">[contexts, H, S, D], float32.</param>
    /// <param name="context">[B], int64: which context each row reads; null when row i reads context i.</param>
    /// <param name="maskBias">[contexts, S], float32, or null.</param>
    /// <param name="scale">Usually 1 / √D.</param>
    /// <returns>[B, L, H · D], dtype of <paramref name="query"/>.</returns>
    public static Tensor CrossAttention(Tensor query, Tensor? queryBias, Tensor keys, Tensor values, Tensor? context, Tensor? maskBias, float scale)
    {
        var (rows, tokens, channels) = Dimensions(query, nameof(query));
        var (heads, headSize, length) = (keys.shape[1], keys.shape[2], keys.shape[3]);
        if (heads * headSize != channels) throw new ArgumentException($"{channels} query channels are not {heads} heads of {headSize}", nameof(query));
        Require(keys, ScalarType.Float32, nameof(keys));
        Require(values, ScalarType.Float32, nameof(values));
        RequireCount(values, keys.NumberOfElements, nameof(values));
        if (context is null && keys.shape[0] != rows) throw new ArgumentException($"{rows} rows but {keys.shape[0]} contexts", nameof(keys));
        if (context is not null) { Require(context, ScalarType.Int64, nameof(context)); RequireCount(context, rows, nameof(context)); }
        if (maskBias is not null) { Require(maskBias, ScalarType.Float32, nameof(maskBias)); RequireCount(maskBias, keys.shape[0] * length, nameof(maskBias)); }
        var result = empty([rows, tokens, channels], dtype: query.dtype);
        crossAttention(Pointer(query), Type(query), Vector(queryBias, channels, nameof(queryBias)), Pointer(keys), Pointer(values),
            context is null ? null : Pointer(context), maskBias is null ? null : Pointer(maskBias), Pointer(result),
            (nint)rows, (nint)tokens, (nint)heads, (nint)headSize, (nint)length, scale, get_num_threads());
        return result;
    }

    /// <summary>RMS norm over the last dimension, with optional weight, bias and activation.</summary>
    /// <param name="x">[…, C], float32 or bfloat16.</param>
    /// <param name="weight">[C], float32, or null for 1.</param>
    /// <param name="epsilon">Added to the mean square.</param>
    /// <param name="dtype">float32 or bfloat16: the result's.</param>
    /// <param name="bias">[C], float32, or null.</param>
    /// <param name="activation">Applied last.</param>
    public static Tensor RmsNorm(Tensor x, Tensor? weight, float epsilon, ScalarType dtype, Tensor? bias = null, KernelActivation activation = KernelActivation.None)
    {
        var channels = x.shape[^1];
        var result = empty(x.shape, dtype: dtype);
        rmsNorm(Pointer(x), Type(x), Vector(weight, channels, nameof(weight)), Vector(bias, channels, nameof(bias)), Pointer(result), Type(result),
            (nint)(x.NumberOfElements / channels), (nint)channels, epsilon, (int)activation, get_num_threads());
        return result;
    }

    /// <summary>SiLU(gate) · up from a fused projection.</summary>
    /// <param name="gateUp">[…, 2C], the gate first; float32 or bfloat16.</param>
    /// <returns>[…, C].</returns>
    public static Tensor SwiGlu(Tensor gateUp)
    {
        var shape = gateUp.shape;
        if (shape[^1] % 2 != 0) throw new ArgumentException($"{shape[^1]} channels cannot be cut into gate and up", nameof(gateUp));
        shape[^1] /= 2;
        var result = empty(shape, dtype: gateUp.dtype);
        swiglu(Pointer(gateUp), Type(gateUp), Pointer(result), (nint)(gateUp.NumberOfElements / 2 / shape[^1]), (nint)shape[^1], get_num_threads());
        return result;
    }

    /// <summary><c>x = activation(x + bias)</c>, in place.</summary>
    /// <param name="x">[…, C], float32 or bfloat16.</param>
    /// <param name="bias">[C], float32, or null.</param>
    /// <param name="activation">Applied last.</param>
    public static void BiasActivation(Tensor x, Tensor? bias, KernelActivation activation)
    {
        var channels = x.shape[^1];
        biasActivation(Pointer(x), Type(x), Vector(bias, channels, nameof(bias)), (nint)(x.NumberOfElements / channels), (nint)channels, (int)activation, get_num_threads());
    }

    static (long Rows, long Tokens, long Channels) Dimensions(Tensor x, string name) =>
        x.dim() == 3 ? (x.shape[0], x.shape[1], x.shape[2]) : throw new ArgumentException($"{x.dim()} dimensions where [B, L, C] is asked for", name);

    // The span's address stays valid while the tensor lives: its memory is native and never moves.
    static void* Pointer(Tensor x) => Unsafe.AsPointer(ref System.Runtime.InteropServices.MemoryMarshal.GetReference(x.bytes));

    static int Type(Tensor x) => x.dtype switch
    {
        ScalarType.Float32 => 0,
        ScalarType.BFloat16 => 1,
        _ => throw new ArgumentException($"dtype {x.dtype}: the fused kernels know float32 and bfloat16"),
    };

    static void* Vector(Tensor? x, long count, string name)
    {
        if (x is null) return null;
        Require(x, ScalarType.Float32, name);
        RequireCount(x, count, name);
        return Pointer(x);
    }

    // A column slice of [B, wide] is not contiguous as a whole; its rows are.
    static void* RowsOf(Tensor x, long rows, long channels, string name)
    {
        Require(x, ScalarType.Float32, name);
        if (x.dim() != 2 || x.shape[0] != rows || x.shape[1] != channels || x.stride(1) != 1)
            throw new ArgumentException($"[{string.Join(", ", x.shape)}] where [{rows}, {channels}] with unit column stride is asked for", name);
        using var first = x[0];
        return Pointer(first);
    }

    static void Require(Tensor x, ScalarType dtype, string name)
    {
        if (x.dtype != dtype) throw new ArgumentException($"dtype {x.dtype} where {dtype} is asked for", name);
    }

    static void RequireCount(Tensor x, long count, string name)
    {
        if (x.NumberOfElements != count) throw new ArgumentException($"{x.NumberOfElements} elements where {count} are asked for", name);
    }
}
