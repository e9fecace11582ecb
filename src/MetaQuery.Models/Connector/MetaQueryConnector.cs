using MetaQuery.Models.Checkpoints;
using MetaQuery.Models.Mllm;
using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Models.Connector;

/// <summary>Whether a connector's encoder stands before its projection or behind it.</summary>
public enum ConnectorKind
{
    /// <summary>Encoder of the MLLM's width, then the projection: the reference's.</summary>
    EncoderProjection,

    /// <summary>Projection, then an encoder of the condition's width: the paper's other one, "Proj-Enc".</summary>
    ProjectionEncoder,
}

/// <summary>Sizes of a connector. The constants are the reference's, which builds them in code.</summary>
/// <param name="HiddenSize">The MLLM's hidden size.</param>
/// <param name="IntermediateSize">Of the encoder's layers.</param>
/// <param name="NumHiddenLayers">Of the encoder; 0 leaves the projection alone.</param>
/// <param name="OutputSize">Channels of the condition.</param>
public sealed record ConnectorConfig(int HiddenSize, int IntermediateSize, int NumHiddenLayers, int NumAttentionHeads, int NumKeyValueHeads, int OutputSize)
{
    public ConnectorKind Kind { get; init; } = ConnectorKind.EncoderProjection;

    /// <summary>The encoder's width.</summary>
    public int EncoderSize => Kind == ConnectorKind.EncoderProjection ? HiddenSize : OutputSize;

    public double RmsNormEpsilon { get; init; } = 1e-6;

    public double OutputNormEpsilon { get; init; } = 1e-5;

    public double RotaryTheta { get; init; } = 10000;

    /// <summary>The reference's shapes: heads of 64, an intermediate size of four times the encoder's width.</summary>
    public static ConnectorConfig OfReference(int hiddenSize, int numHiddenLayers, int outputSize, ConnectorKind kind = ConnectorKind.EncoderProjection)
    {
        var width = kind == ConnectorKind.EncoderProjection ? hiddenSize : outputSize;
        return new(hiddenSize, 4 * width, numHiddenLayers, width / 64, width / 64, outputSize) { Kind = kind };
    }

    // Places in the reference's nn.Sequential; Proj-Enc keeps their order of linear layers.
    internal (string Encoder, string First, string Second) Names => Kind == ConnectorKind.EncoderProjection
        ? ("connector.0", "connector.1", "connector.3") : ("connector.3", "connector.0", "connector.2");
}

/// <summary>Hidden states of the query tokens -> condition: Qwen2 layers without a causal mask, whose queries and keys are rotated, then normalised
/// per head; no norm after them; then Linear, GELU (tanh), Linear, RMS norm ("Enc-Proj"). Or the linear layers first, then the encoder, then the norm ("Proj-Enc").</summary>
public sealed class MetaQueryConnector : IDisposable
{
    private readonly ConnectorConfig _config;
    private readonly ScalarType _dtype;
    private readonly List<TransformerLayer> _layers = [];
    private readonly FusedLinear _first;
    private readonly FusedLinear _second;
    private readonly PackedConnector? _packed;
    private readonly RmsNorm _norm;
    private readonly RotaryEmbedding _rotary;

    /// <param name="weights">Tensors named connector.0.layers... and so on; read during the call only.</param>
    /// <param name="dtype">float32 or bfloat16.</param>
    /// <param name="packed">For inference on the CPU: packed weights and fused kernels, no gradients.</param>
    /// <exception cref="CheckpointException">The sizes do not fit each other, or a tensor is missing or has another shape.</exception>
    public MetaQueryConnector(ConnectorConfig config, WeightSource weights, ScalarType dtype = ScalarType.Float32, Device? device = null, bool packed = false)
    {
        ArgumentNullException.ThrowIfNull(config);
        ArgumentNullException.ThrowIfNull(weights);
        if (config.NumAttentionHeads < 1 || config.EncoderSize % config.NumAttentionHeads != 0)
            throw new CheckpointException($"{weights.Path}: the connector's hidden size {config.EncoderSize} is not divisible by {config.NumAttentionHeads} heads");
        if (config.NumKeyValueHeads < 1 || config.NumAttentionHeads % config.NumKeyValueHeads != 0)
            throw new CheckpointException($"{weights.Path}: the connector's {config.NumAttentionHeads} heads are not divisible by {config.NumKeyValueHeads} key-value heads");
        (_config, _dtype) = (config, dtype);
        var headSize = config.EncoderSize / config.NumAttentionHeads;
        if (headSize % 2 != 0)
            throw new CheckpointException($"{weights.Path}: the connector's head size {headSize} is odd; rotary positions turn pairs");
        var layer = new TransformerLayerConfig(
            config.EncoderSize, config.IntermediateSize, config.NumAttentionHeads, config.NumKeyValueHeads, headSize, config.RmsNormEpsilon,
            QueryKeyValueBias: true, OutputBias: false, MlpBias: false, HeadNorm: true);
        var sources = Enumerable.Range(0, config.NumHiddenLayers).Select(i => weights.WithPrefix($"{config.Names.Encoder}.layers.{i}.")).ToList();
        try
        {
            foreach (var source in packed ? [] : sources)
                _layers.Add(new TransformerLayer(layer, source, dtype, device));
            _first = FusedLinear.Load(weights, config.HiddenSize, bias: true, dtype, device, (config.Names.First, config.OutputSize));
            _second = FusedLinear.Load(weights, config.OutputSize, bias: true, dtype, device, (config.Names.Second, config.OutputSize));
            _norm = RmsNorm.Load(weights, "connector.4.weight", config.OutputSize, config.OutputNormEpsilon, device);
            _rotary = new RotaryEmbedding(new RotaryConfig(config.RotaryTheta), headSize, device);
            if (packed)
                _packed = new PackedConnector(new PackedLayers(layer, new RotaryConfig(config.RotaryTheta), sources, dtype), _first, _second, _norm.Weight, (float)config.OutputNormEpsilon, dtype, config.Kind);
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    /// <summary>D, the condition's channels.</summary>
    public int OutputSize => _config.OutputSize;

    /// <param name="hiddenStates">[B, N, C], float32: the MLLM's states at the query positions, after its last norm.</param>
    /// <param name="observe">Is shown "layer.i.attention", "layer.i", "linear1" and "linear2" as they arise.</param>
    /// <returns>The condition: [B, N, D], float32.</returns>
    public Tensor Forward(Tensor hiddenStates, Action<string, Tensor>? observe = null)
    {
        ArgumentNullException.ThrowIfNull(hiddenStates);
        if (hiddenStates.shape[^1] != _config.HiddenSize)
            throw new ArgumentException($"hidden states of size {hiddenStates.shape[^1]}, the connector takes {_config.HiddenSize}", nameof(hiddenStates));
        using var scope = NewDisposeScope();
        if (_packed is not null)
            return _packed.Forward(hiddenStates, observe).MoveToOuterDisposeScope();
        var x = _config.Kind == ConnectorKind.EncoderProjection ? Project(Encode(hiddenStates, observe), observe) : Encode(Project(hiddenStates, observe), observe);
        return _norm.Forward(x).MoveToOuterDisposeScope();
    }

    private Tensor Encode(Tensor x, Action<string, Tensor>? observe)
    {
        var rotary = _rotary.At(arange(x.shape[1], dtype: ScalarType.Int64, device: x.device).unsqueeze(0));
        for (var i = 0; i < _layers.Count; i++)
        {
            var name = $"layer.{i}";
            x = _layers[i].Forward(x, rotary, mask: null, attention: observe is null ? null : attended => observe(name + ".attention", attended));
            observe?.Invoke(name, x);
        }

        return x;
    }

    private Tensor Project(Tensor x, Action<string, Tensor>? observe)
    {
        var first = _first.Forward(x.to(_dtype));
        observe?.Invoke("linear1", first);
        // The tanh form of GELU: libtorch computes it in the dtype it is given, so it is given float32.
        var second = _second.Forward(GeluTanh(first.to(ScalarType.Float32)).to(_dtype)).to(ScalarType.Float32);
        observe?.Invoke("linear2", second);
        return second;
    }

    /// <summary>Every tensor under its key in the checkpoint.</summary>
    public IEnumerable<NamedWeight> Named()
    {
        var layers = _layers.SelectMany((layer, i) => layer.Named($"{_config.Names.Encoder}.layers.{i}."));
        return layers.Concat(_first.Named("")).Concat(_second.Named("")).Append(new NamedWeight("connector.4.weight", _norm.Weight));
    }

    public void Dispose()
    {
        foreach (var part in (IDisposable?[])[.. _layers, _packed, _first, _second, _norm, _rotary])
            part?.Dispose();
    }

    private static Tensor GeluTanh(Tensor x)
    {
        using var scope = NewDisposeScope();
        var inner = (x + (x * x * x * 0.044715)) * Math.Sqrt(2 / Math.PI);
        return (x * 0.5 * (inner.tanh() + 1)).MoveToOuterDisposeScope();
    }
}
