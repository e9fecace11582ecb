using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Kernels;

/// <summary>Where a convolution reads and writes.</summary>
public unsafe struct ConvolutionTarget
{
    /// <summary>[height + 2, width + 2, channels], the border zero.</summary>
    public void* Padded;

    /// <summary>Height of the output grid.</summary>
    public long Height;

    /// <summary>Width of the output grid, and of the input without its border.</summary>
    public long Width;

    public void* Output;

    public KernelType Type;

    /// <summary>Elements from one output row to the next.</summary>
    public long RowStride;

    /// <summary>Elements from one output pixel to the next.</summary>
    public long PixelStride;

    public KernelActivation Activation;

    /// <summary>Adds to what the output holds.</summary>
    public bool Residual;
}

/// <summary>A convolution of 3 × 3 or 2 × 2 taps, stride 1, over channels-last pixels with a border of zeros; packed and immutable.</summary>
public sealed unsafe class PackedConvolution : IDisposable
{
    static readonly delegate* unmanaged<void*, int, nint, nint, nint, nint, nint, void*, float*, int, int, void*, int, nint, nint, nint, nint, nint, int, int, void> Entry =
        (delegate* unmanaged<void*, int, nint, nint, nint, nint, nint, void*, float*, int, int, void*, int, nint, nint, nint, nint, nint, int, int, void>)KernelLibrary.Address("packed_convolution");

    readonly NativeBuffer _packed;
    readonly NativeBuffer? _bias;
    readonly int _stored;
    readonly KernelFeatures _features;
    readonly int _taps, _offsetY, _offsetX;

    /// <param name="weight">[outputs, channels, taps, taps], on the CPU.</param>
    /// <param name="bias">[outputs], or null.</param>
    /// <param name="type">What weights and inputs are rounded to.</param>
    /// <param name="features">What bfloat16 products use.</param>
    /// <param name="offsetY">The padded row that output row 0 reads first.</param>
    /// <param name="offsetX">The padded column that output column 0 reads first.</param>
    public PackedConvolution(Tensor weight, Tensor? bias, KernelType type, KernelFeatures features, int offsetY = 0, int offsetX = 0)
    {
        (Outputs, Channels, _taps) = (weight.shape[0], weight.shape[1], (int)weight.shape[2]);
        (_stored, _features, _offsetY, _offsetX) = (PackedWeights.StoredAs(weight, type), features, offsetY, offsetX);
        var rowInputs = _taps * Channels;
        const int Panel = PackedWeights.PanelOutputs;
        _packed = new NativeBuffer((Outputs + Panel - 1) / Panel * Panel * PackedWeights.StoredBytes(_stored, rowInputs) * _taps, lasting: true);
        using var scope = NewDisposeScope();
        var readable = weight.dtype == ScalarType.BFloat16 ? weight : weight.to(ScalarType.Float32);
        var flat = readable.permute(0, 2, 3, 1).contiguous(); // [outputs, taps, taps, channels]
        fixed (byte* source = flat.bytes)
        {
            PackedWeights.PackEntry(source, PackedWeights.TypeOf(flat), (nint)Outputs, _taps, (nint)rowInputs, _stored, _packed.Pointer);
        }

        _bias = bias is null ? null : PackedWeights.Floats(bias);
    }

    public long Outputs { get; }

    public long Channels { get; }

    public void Run(in ConvolutionTarget target, int threads)
    {
        Entry(
            target.Padded, _stored, (nint)(target.Width + 2), (nint)Channels, _taps, _offsetY, _offsetX, _packed.Pointer,
            _bias is null ? null : _bias.Floats, (int)target.Activation, target.Residual ? 1 : 0, target.Output, (int)target.Type,
            (nint)target.RowStride, (nint)target.PixelStride, (nint)target.Height, (nint)target.Width, (nint)Outputs, (int)_features, threads);
        GC.KeepAlive(this);
    }

    public void Dispose()
    {
        _packed.Dispose();
        _bias?.Dispose();
    }
}
