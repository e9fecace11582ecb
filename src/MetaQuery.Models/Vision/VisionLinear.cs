using MetaQuery.Kernels;
using MetaQuery.Models.Checkpoints;
using MetaQuery.Models.Mllm;
using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Models.Vision;

/// <summary>A linear layer of a vision part: packed for the CPU's matrix kernel (no gradients; a row's result depends on that row alone), or libtorch's.</summary>
internal sealed unsafe class VisionLinear : IDisposable
{
    private readonly FusedLinear? _plain;
    private readonly PackedWeights? _packed;
    private readonly ScalarType _dtype;

    private VisionLinear(FusedLinear? plain, PackedWeights? packed, ScalarType dtype) => (_plain, _packed, _dtype) = (plain, packed, dtype);

    /// <summary>What a part's layers are loaded with.</summary>
    /// <param name="Dtype">Of weights and products: float32 or bfloat16.</param>
    /// <param name="Packed">For inference on the CPU.</param>
    public sealed record Settings(ScalarType Dtype, Device? Device, bool Packed)
    {
        public KernelType KernelType => PackedLayers.TypeOf(Dtype);
    }

    /// <inheritdoc cref="FusedLinear.Load"/>
    public static VisionLinear Load(WeightSource source, int inputs, bool bias, Settings settings, params (string Name, int Rows)[] parts)
    {
        if (!settings.Packed)
            return new VisionLinear(FusedLinear.Load(source, inputs, bias, settings.Dtype, settings.Device, parts), null, settings.Dtype);
        using var mode = inference_mode();
        using var linear = FusedLinear.Load(source, inputs, bias, dtype: null, device: null, parts);
        return new VisionLinear(null, new PackedWeights(linear.Weight, linear.Bias, settings.KernelType, RawKernels.Features), settings.Dtype);
    }

    /// <summary>A layer whose weight has other dimensions than two in the file: a convolution over patches that do not overlap.</summary>
    /// <param name="bias">The bias's key, or null.</param>
    public static VisionLinear LoadPatches(WeightSource source, string weight, string? bias, long[] shape, Settings settings) =>
        LoadRows(source, weight, bias, shape, first: 0, rows: shape[0], settings);

    /// <summary>Rows of a layer that the file holds joined with others.</summary>
    /// <param name="shape">The weight's in the file.</param>
    public static VisionLinear LoadRows(WeightSource source, string weight, string? bias, long[] shape, long first, long rows, Settings settings)
    {
        using var scope = NewDisposeScope();
        ScalarType? dtype = settings.Packed ? null : settings.Dtype;
        var flat = source.Load(weight, shape, dtype).reshape(shape[0], -1).narrow(0, first, rows);
        var offset = bias is null ? null : source.Load(bias, [shape[0]], dtype).narrow(0, first, rows);
        if (!settings.Packed)
            return new VisionLinear(FusedLinear.Of(flat, offset, settings.Device), null, settings.Dtype);
        using var mode = inference_mode();
        return new VisionLinear(null, new PackedWeights(flat, offset, settings.KernelType, RawKernels.Features), settings.Dtype);
    }

    /// <param name="x">[rows, inputs].</param>
    /// <returns>[rows, outputs], float32.</returns>
    public Tensor Forward(Tensor x, VisionActivation? activation = null)
    {
        using var scope = NewDisposeScope();
        if (_plain is not null)
        {
            var product = _plain.Forward(x.to(_dtype)).to(ScalarType.Float32);
            return (activation?.Apply(product) ?? product).MoveToOuterDisposeScope();
        }

        var output = empty([x.shape[0], _packed!.Outputs], dtype: ScalarType.Float32);
        Multiply(x, output, activation?.Fused() ?? KernelActivation.None, residual: false);
        return (activation is { } rest && rest.Fused() is null ? rest.Apply(output) : output).MoveToOuterDisposeScope();
    }

    /// <returns>stream + the product; the packed layer writes it into the stream, which it returns.</returns>
    /// <param name="stream">[rows, outputs], float32; not to be used afterwards.</param>
    public Tensor AddTo(Tensor stream, Tensor x)
    {
        using var scope = NewDisposeScope();
        if (_plain is not null)
            return (stream + _plain.Forward(x.to(_dtype)).to(ScalarType.Float32)).MoveToOuterDisposeScope();
        Multiply(x, stream, KernelActivation.None, residual: true);
        return stream;
    }

    public void Dispose()
    {
        _plain?.Dispose();
        _packed?.Dispose();
    }

    private void Multiply(Tensor x, Tensor output, KernelActivation activation, bool residual)
    {
        var input = x.to(_dtype).contiguous();
        fixed (byte* source = input.bytes)
        fixed (byte* target = output.bytes)
        {
            _packed!.Multiply(
                source, x.shape[0], new MatmulTarget { Output = target, Type = KernelType.Float32, Activation = activation, Residual = residual }, get_num_threads());
        }
    }
}
