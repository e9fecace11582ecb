using MetaQuery.Kernels;
using MetaQuery.Models.Checkpoints;
using MetaQuery.Models.Mllm;
using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Models.Vision;

/// <summary>A layer of SigLIP: attention without positions, then a feed-forward, each behind a layer norm.</summary>
/// <remarks>The residual stream, the norms and the attention are float32 whatever the weights' dtype.</remarks>
internal sealed unsafe class SiglipLayer : IDisposable
{
    private readonly SiglipEncoderConfig _config;
    private readonly VisionLinear.Settings _settings;
    private readonly List<IDisposable> _owned = [];
    private readonly AffineNorm _norm1;
    private readonly AffineNorm _norm2;
    private readonly VisionLinear _queryKeyValue;
    private readonly VisionLinear _output;
    private readonly VisionLinear _first;
    private readonly VisionLinear _second;

    /// <param name="source">The layer's own tensors (a view with the layer's prefix).</param>
    /// <exception cref="CheckpointException">A tensor is missing or has another shape.</exception>
    public SiglipLayer(SiglipEncoderConfig config, WeightSource source, VisionLinear.Settings settings)
    {
        (_config, _settings) = (config, settings);
        var (size, inner) = (config.HiddenSize, config.IntermediateSize);
        try
        {
            _norm1 = Own(AffineNorm.Load(source, "layer_norm1", size, config.LayerNormEpsilon, settings));
            _norm2 = Own(AffineNorm.Load(source, "layer_norm2", size, config.LayerNormEpsilon, settings));
            _queryKeyValue = Own(VisionLinear.Load(source, size, bias: true, settings, ("self_attn.q_proj", size), ("self_attn.k_proj", size), ("self_attn.v_proj", size)));
            _output = Own(VisionLinear.Load(source, size, bias: true, settings, ("self_attn.out_proj", size)));
            _first = Own(VisionLinear.Load(source, size, bias: true, settings, ("mlp.fc1", inner)));
            _second = Own(VisionLinear.Load(source, inner, bias: true, settings, ("mlp.fc2", size)));
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    /// <param name="x">[sequences · T, C], float32; not to be used afterwards.</param>
    /// <returns>[sequences · T, C], float32.</returns>
    public Tensor Forward(Tensor x, long sequences)
    {
        using var scope = NewDisposeScope();
        var attended = Attend(_queryKeyValue.Forward(_norm1.Forward(x)), sequences);
        var between = _output.AddTo(x, attended);
        var inner = _first.Forward(_norm2.Forward(between), _config.Activation);
        var result = _second.AddTo(between, inner);
        return ReferenceEquals(result, x) ? x : result.MoveToOuterDisposeScope();
    }

    public void Dispose() => _owned.ForEach(part => part.Dispose());

    private Tensor Attend(Tensor queryKeyValue, long sequences)
    {
        using var scope = NewDisposeScope();
        var (total, heads, size) = (queryKeyValue.shape[0], _config.NumAttentionHeads, _config.HeadSize);
        if (!_settings.Packed)
        {
            var parts = queryKeyValue.view(sequences, total / sequences, 3, heads, size).permute(2, 0, 3, 1, 4).unbind(0); // -> 3 x [sequences, H, T, D]
            return Attention.Grouped(parts[0], parts[1], parts[2], mask: null).transpose(1, 2).reshape(total, heads * size).MoveToOuterDisposeScope();
        }

        var output = empty([total, heads * size], dtype: _settings.Dtype);
        long[] offsets = [.. Enumerable.Range(0, (int)sequences + 1).Select(i => i * (total / sequences))];
        fixed (byte* source = queryKeyValue.bytes, target = output.bytes)
        fixed (long* first = offsets)
        {
            var shape = new HeadShape { Heads = heads, Groups = heads, HeadSize = size, Scale = (float)(1 / Math.Sqrt(size)) };
            SequenceKernels.Attention(
                (float*)source, new SequenceTokens { Offsets = first, Sequences = sequences }, default, default, shape, target, _settings.KernelType, get_num_threads());
        }

        return output.MoveToOuterDisposeScope();
    }

    private T Own<T>(T part)
        where T : IDisposable
    {
        _owned.Add(part);
        return part;
    }
}

/// <summary>Layer norm over the last dimension with weight and bias, in float32.</summary>
internal sealed unsafe class AffineNorm : IDisposable
{
    private readonly Tensor _weight;
    private readonly Tensor _bias;
    private readonly double _epsilon;
    private readonly VisionLinear.Settings _settings;

    private AffineNorm(Tensor weight, Tensor bias, double epsilon, VisionLinear.Settings settings) =>
        (_weight, _bias, _epsilon, _settings) = (weight, bias, epsilon, settings);

    /// <exception cref="CheckpointException">A tensor is missing or has another shape.</exception>
    public static AffineNorm Load(WeightSource source, string name, int size, double epsilon, VisionLinear.Settings settings)
    {
        using var scope = NewDisposeScope();
        var weight = source.Load($"{name}.weight", [size], ScalarType.Float32);
        var bias = source.Load($"{name}.bias", [size], ScalarType.Float32);
        if (settings.Device is { } device)
            (weight, bias) = (weight.to(device), bias.to(device));
        return new AffineNorm(weight.DetachFromDisposeScope(), bias.DetachFromDisposeScope(), epsilon, settings);
    }

    /// <param name="x">[rows, C], float32.</param>
    /// <returns>[rows, C]; of packed parts in the weights' dtype, which the product behind it reads.</returns>
    public Tensor Forward(Tensor x)
    {
        if (!_settings.Packed)
            return nn.functional.layer_norm(x, _weight.shape, _weight, _bias, _epsilon);
        var output = empty(x.shape, dtype: _settings.Dtype);
        fixed (byte* source = x.bytes, target = output.bytes, weight = _weight.bytes, bias = _bias.bytes)
        {
            RawKernels.LayerNorm(
                (float*)source, (float*)weight, (float*)bias, target, _settings.KernelType, x.shape[0], x.shape[1], (float)_epsilon, get_num_threads());
        }

        return output;
    }

    public void Dispose()
    {
        _weight.Dispose();
        _bias.Dispose();
    }
}
