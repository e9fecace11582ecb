using MetaQuery.Kernels;
using MetaQuery.Models.Checkpoints;
using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Models.Mllm;

/// <summary>One layer's packed weights, and its pass over a stream of tokens.</summary>
internal sealed unsafe class PackedLayer : IDisposable
{
    private readonly TransformerLayerConfig _config;
    private readonly KernelType _type;
    private readonly List<IDisposable> _owned = [];
    private readonly PackedWeights _queryKeyValue;
    private readonly PackedWeights _output;
    private readonly PackedWeights _gateUp;
    private readonly PackedWeights _down;
    private readonly NativeBuffer _inputNorm;
    private readonly NativeBuffer _postAttentionNorm;
    private readonly NativeBuffer? _queryGamma;
    private readonly NativeBuffer? _keyGamma;

    public PackedLayer(TransformerLayerConfig config, WeightSource source, KernelType type)
    {
        (_config, _type) = (config, type);
        var (hidden, inner, keys) = (config.HiddenSize, config.IntermediateSize, config.Keys);
        try
        {
            _queryKeyValue = Pack(source, hidden, config.QueryKeyValueBias, keys.QueryKeyValueParts(config.QueryRows, config.KeyRows));
            _output = Pack(source, config.QueryRows, config.OutputBias, (keys.Output, hidden));
            _gateUp = Pack(source, hidden, config.MlpBias, (keys.Gate, inner), (keys.Up, inner));
            _down = Pack(source, inner, config.MlpBias, (keys.Down, hidden));
            _inputNorm = Floats(source, keys.InputNorm, [hidden], 1);
            _postAttentionNorm = Floats(source, keys.PostAttentionNorm, [hidden], 1);
            if (config.HeadNorm)
            {
                _queryGamma = Floats(source, "self_attn.q_norm.gamma", [config.Heads, 1, config.HeadSize], Math.Sqrt(config.HeadSize));
                _keyGamma = Floats(source, "self_attn.k_norm.gamma", [config.KeyValueHeads, 1, config.HeadSize], Math.Sqrt(config.HeadSize));
            }
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    public void Forward(float* x, long tokens, in SequenceTokens sequences, in RotaryAngles angles, in CachedTokens cache, PackedWorkspace work, int threads)
    {
        var hidden = _config.HiddenSize;
        Norm(x, _inputNorm, work, tokens, threads);
        _queryKeyValue.Multiply(work.Normed, tokens, new MatmulTarget { Output = work.QueryKeyValue, Type = KernelType.Float32 }, threads);
        var heads = new HeadShape
        {
            Heads = _config.Heads,
            Groups = _config.KeyValueHeads,
            HeadSize = _config.HeadSize,
            Scale = (float)(1 / Math.Sqrt(_config.HeadSize)),
            QueryGamma = _queryGamma is null ? null : _queryGamma.Floats,
            KeyGamma = _keyGamma is null ? null : _keyGamma.Floats,
        };
        SequenceKernels.Attention((float*)work.QueryKeyValue, sequences, angles, cache, heads, work.Attended, _type, threads);
        _output.Multiply(work.Attended, tokens, new MatmulTarget { Output = x, Type = KernelType.Float32, Residual = true }, threads);
        Norm(x, _postAttentionNorm, work, tokens, threads);
        _gateUp.Multiply(work.Normed, tokens, new MatmulTarget { Output = work.GateUp, Type = _type }, threads);
        SequenceKernels.SwiGlu(work.GateUp, _type, work.Inner, tokens, _config.IntermediateSize, threads);
        _down.Multiply(work.Inner, tokens, new MatmulTarget { Output = x, Type = KernelType.Float32, Residual = true, Stride = hidden }, threads);
    }

    public void Dispose() => _owned.ForEach(part => part.Dispose());

    private void Norm(float* x, NativeBuffer weight, PackedWorkspace work, long tokens, int threads) =>
        RawKernels.RmsNorm(x, KernelType.Float32, weight.Floats, null, work.Normed, _type, tokens, _config.HiddenSize, (float)_config.RmsNormEpsilon, KernelActivation.None, threads);

    private PackedWeights Pack(WeightSource source, int inputs, bool bias, params (string Name, int Rows)[] parts)
    {
        using var mode = inference_mode();
        using var linear = FusedLinear.Load(source, inputs, bias, dtype: null, device: null, parts);
        var packed = new PackedWeights(linear.Weight, linear.Bias, _type, RawKernels.Features);
        _owned.Add(packed);
        return packed;
    }

    private NativeBuffer Floats(WeightSource source, string key, long[] shape, double factor)
    {
        using var mode = inference_mode();
        using var scope = NewDisposeScope();
        var buffer = PackedWeights.Floats(source.Load(key, shape, ScalarType.Float32) * factor);
        _owned.Add(buffer);
        return buffer;
    }
}

/// <summary>The activations between the steps of a layer.</summary>
internal sealed unsafe class PackedWorkspace : IDisposable
{
    private readonly NativeBuffer _memory;

    public PackedWorkspace(TransformerLayerConfig config, KernelType type, long tokens)
    {
        var element = type == KernelType.BFloat16 ? sizeof(ushort) : sizeof(float);
        long at = 0;
        var normed = Take(config.HiddenSize * element);
        var queryKeyValue = Take((config.Heads + (2 * config.KeyValueHeads)) * config.HeadSize * sizeof(float));
        var attended = Take(config.Heads * config.HeadSize * element);
        var gateUp = Take(2 * config.IntermediateSize * element);
        var inner = Take(config.IntermediateSize * element);
        _memory = new NativeBuffer(at);
        var start = (byte*)_memory.Pointer;
        Normed = start + normed;
        QueryKeyValue = start + queryKeyValue;
        Attended = start + attended;
        GateUp = start + gateUp;
        Inner = start + inner;

        long Take(long rowBytes)
        {
            const long CacheLine = 64;
            var first = at;
            at += ((tokens * rowBytes) + CacheLine - 1) / CacheLine * CacheLine;
            return first;
        }
    }

    public void* Normed { get; }

    /// <summary>Always float32.</summary>
    public void* QueryKeyValue { get; }

    public void* Attended { get; }

    public void* GateUp { get; }

    public void* Inner { get; }

    public void Dispose() => _memory.Dispose();
}
