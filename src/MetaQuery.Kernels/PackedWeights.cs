using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Kernels;

/// <summary>Where a matrix product's results go, and what is fused into it.</summary>
public unsafe struct MatmulTarget
{
    /// <summary>[rows, outputs], <see cref="Stride"/> elements apart.</summary>
    public void* Output;

    public KernelType Type;

    /// <summary>Elements between rows of the output; 0 means as many as there are outputs.</summary>
    public long Stride;

    public KernelActivation Activation;

    /// <summary>Multiplies the outputs; null is one. Row i's begins at Gate + i / <see cref="TokensPerGate"/> · <see cref="GateStride"/>.</summary>
    public float* Gate;

    public long GateStride;

    public long TokensPerGate;

    /// <summary>Adds to what the output holds instead of replacing it.</summary>
    public bool Residual;
}

/// <summary>
/// The weights of a linear layer in the order in which the matrix kernel reads them. Immutable: any number of threads may multiply
/// by it at once.
/// </summary>
/// <remarks>Large weights that come in bfloat16 are kept so also under float32 inputs, and widened as they are read: the same bits as
/// packed in float32, in half the memory.</remarks>
public sealed unsafe class PackedWeights : IDisposable
{
    internal const int PanelOutputs = 32; // native/matmul.cpp

    internal const long LeastHalves = 1 << 19; // smaller ones stay in the second-level cache, where widening costs more than memory saves

    internal static readonly delegate* unmanaged<void*, int, nint, nint, nint, int, void*, void> PackEntry =
        (delegate* unmanaged<void*, int, nint, nint, nint, int, void*, void>)KernelLibrary.Address("pack_weights");

    static readonly delegate* unmanaged<void*, int, nint, void*, float*, int, float*, nint, nint, int, void*, int, nint, nint, nint, nint, int, int, void> MultiplyEntry =
        (delegate* unmanaged<void*, int, nint, void*, float*, int, float*, nint, nint, int, void*, int, nint, nint, nint, nint, int, int, void>)KernelLibrary.Address("packed_matmul");

    readonly NativeBuffer _packed;
    readonly NativeBuffer? _bias;
    readonly KernelFeatures _features;
    readonly int _stored;

    /// <param name="weight">[outputs, ...], any dtype, on the CPU; all dimensions but the first are inputs.</param>
    /// <param name="bias">[outputs], or null.</param>
    /// <param name="type">What weights and inputs are rounded to.</param>
    /// <param name="features">What bfloat16 products use; fixed here, so that one layer rounds one way whatever is asked of it.</param>
    public PackedWeights(Tensor weight, Tensor? bias, KernelType type, KernelFeatures features)
    {
        Outputs = weight.shape[0];
        Inputs = weight.NumberOfElements / Outputs;
        Type = type;
        _features = features;
        _stored = StoredAs(weight, type);
        _packed = new NativeBuffer((Outputs + PanelOutputs - 1) / PanelOutputs * PanelOutputs * StoredBytes(_stored, Inputs), lasting: true);
        using var readable = weight.to(weight.dtype == ScalarType.BFloat16 ? ScalarType.BFloat16 : ScalarType.Float32);
        using var flat = readable.contiguous();
        fixed (byte* source = flat.bytes)
        {
            PackEntry(source, TypeOf(flat), (nint)Outputs, 1, (nint)Inputs, _stored, _packed.Pointer);
        }

        _bias = bias is null ? null : Floats(bias);
    }

    public long Outputs { get; }

    public long Inputs { get; }

    public KernelType Type { get; }

    /// <summary>Bytes of the packed weights.</summary>
    public long Bytes => _packed.Bytes;

    /// <summary>target = gate · activation(input · weightᵀ + bias), or added to the target.</summary>
    /// <param name="input">[rows, inputs] of <see cref="Type"/>.</param>
    /// <param name="rows">Rows.</param>
    /// <param name="target">Where the results go.</param>
    /// <param name="threads">OpenMP threads, the caller's included.</param>
    /// <param name="inputStride">Elements between rows of the input; 0 if they lie back to back.</param>
    public void Multiply(void* input, long rows, in MatmulTarget target, int threads, long inputStride = 0)
    {
        MultiplyEntry(
            input, _stored, (nint)(inputStride == 0 ? Inputs : inputStride), _packed.Pointer, _bias is null ? null : _bias.Floats, (int)target.Activation, target.Gate,
            (nint)target.GateStride, (nint)Math.Max(1, target.TokensPerGate), target.Residual ? 1 : 0, target.Output, (int)target.Type,
            (nint)(target.Stride == 0 ? Outputs : target.Stride), (nint)rows, (nint)Outputs, (nint)Inputs, (int)_features, threads);
        GC.KeepAlive(this);
    }

    // kernels.h: kFloat32, kBFloat16 or kHalves
    internal static int StoredAs(Tensor weight, KernelType type) =>
        type == KernelType.Float32 && weight.dtype == ScalarType.BFloat16 && weight.NumberOfElements >= LeastHalves ? 2 : (int)type;

    // of one output's row; bfloat16 inputs are read in pairs
    internal static long StoredBytes(int stored, long inputs) => stored switch { 0 => inputs * 4, 1 => (inputs + 1) / 2 * 4, _ => inputs * 2 };

    internal static int TypeOf(Tensor tensor) => (int)(tensor.dtype == ScalarType.BFloat16 ? KernelType.BFloat16 : KernelType.Float32);

    /// <summary>A tensor's values as float32 outside the collector's heap.</summary>
    public static NativeBuffer Floats(Tensor values)
    {
        using var wide = values.to(ScalarType.Float32);
        using var flat = wide.contiguous();
        var buffer = new NativeBuffer(flat.NumberOfElements * sizeof(float));
        flat.bytes.CopyTo(new Span<byte>(buffer.Pointer, checked((int)buffer.Bytes)));
        return buffer;
    }

    public void Dispose()
    {
        _packed.Dispose();
        _bias?.Dispose();
    }
}
