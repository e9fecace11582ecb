using MetaQuery.Models.Checkpoints;
using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Models.Mllm;

/// <summary>Sizes of one layer. A decoder's and a connector's layer differ in these alone, and in the mask they are given.</summary>
/// <param name="HeadNorm">Whether rotated queries and keys are normalised per head: the connector does so.</param>
public sealed record TransformerLayerConfig(
    int HiddenSize, int IntermediateSize, int Heads, int KeyValueHeads, int HeadSize, double RmsNormEpsilon,
    bool QueryKeyValueBias, bool OutputBias, bool MlpBias, bool HeadNorm)
{
    public TransformerLayerKeys Keys { get; init; } = TransformerLayerKeys.Decoder;

    internal int QueryRows => Heads * HeadSize;

    internal int KeyRows => KeyValueHeads * HeadSize;
}

/// <summary>Where a layer's tensors stand in its checkpoint.</summary>
/// <param name="QueryKeyValue">One matrix each for queries, keys and values; or a single name, where the file holds them joined.</param>
public sealed record TransformerLayerKeys(
    IReadOnlyList<string> QueryKeyValue, string Output, string Gate, string Up, string Down, string InputNorm, string PostAttentionNorm)
{
    /// <summary>Llama's, Qwen2's and the connector's.</summary>
    public static TransformerLayerKeys Decoder { get; } = new(
        ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"], "self_attn.o_proj", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj",
        "input_layernorm.weight", "post_attention_layernorm.weight");

    /// <summary>A block of Qwen2.5-VL's vision tower.</summary>
    public static TransformerLayerKeys VisionBlock { get; } = new(
        ["attn.qkv"], "attn.proj", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj", "norm1.weight", "norm2.weight");

    internal (string Name, int Rows)[] QueryKeyValueParts(int queries, int keys) => QueryKeyValue.Count == 1
        ? [(QueryKeyValue[0], queries + (2 * keys))]
        : [(QueryKeyValue[0], queries), (QueryKeyValue[1], keys), (QueryKeyValue[2], keys)];
}

/// <summary>A layer of Llama and Qwen2: grouped-query attention with rotary positions, then a gated feed-forward, each behind an RMS norm.</summary>
/// <remarks>The residual stream, the norms and the attention are float32 whatever the weights' dtype; the matrix products run in the weights' dtype.</remarks>
public sealed class TransformerLayer : IDisposable
{
    private readonly TransformerLayerConfig _config;
    private readonly ScalarType _dtype;
    private readonly FusedLinear _queryKeyValue;
    private readonly FusedLinear _output;
    private readonly FusedLinear _gateUp;
    private readonly FusedLinear _down;
    private readonly RmsNorm _inputNorm;
    private readonly RmsNorm _postAttentionNorm;
    private readonly HeadNorm? _headNorm;

    /// <param name="source">The layer's own tensors (a view with the layer's prefix).</param>
    /// <exception cref="CheckpointException">A tensor is missing or has another shape.</exception>
    public TransformerLayer(TransformerLayerConfig config, WeightSource source, ScalarType dtype, Device? device = null)
    {
        (_config, _dtype) = (config, dtype);
        var (hidden, inner, keys) = (config.HiddenSize, config.IntermediateSize, config.Keys);
        try
        {
            _queryKeyValue = FusedLinear.Load(source, hidden, config.QueryKeyValueBias, dtype, device, keys.QueryKeyValueParts(config.QueryRows, config.KeyRows));
            _output = FusedLinear.Load(source, config.QueryRows, config.OutputBias, dtype, device, (keys.Output, hidden));
            _gateUp = FusedLinear.Load(source, hidden, config.MlpBias, dtype, device, (keys.Gate, inner), (keys.Up, inner));
            _down = FusedLinear.Load(source, inner, config.MlpBias, dtype, device, (keys.Down, hidden));
            _inputNorm = RmsNorm.Load(source, keys.InputNorm, hidden, config.RmsNormEpsilon, device);
            _postAttentionNorm = RmsNorm.Load(source, keys.PostAttentionNorm, hidden, config.RmsNormEpsilon, device);
            _headNorm = config.HeadNorm
                ? Mllm.HeadNorm.Load(source, "self_attn.q_norm.gamma", "self_attn.k_norm.gamma", config.Heads, config.KeyValueHeads, config.HeadSize, device)
                : null;
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    /// <param name="x">[B, L, C], float32.</param>
    /// <param name="rotary">Of the L positions.</param>
    /// <param name="mask">Added to the scores: [B or 1, 1, L, T], float32; null lets everything see everything.</param>
    /// <param name="cache">Holds the T - L keys and values before these, and receives these.</param>
    /// <param name="attention">Is shown the attention's output before it joins the residual stream.</param>
    /// <returns>[B, L, C], float32.</returns>
    public Tensor Forward(Tensor x, (Tensor Cos, Tensor Sin) rotary, Tensor? mask, LayerCache? cache = null, Action<Tensor>? attention = null)
    {
        using var scope = NewDisposeScope();
        var attended = _output.Forward(Attend(_inputNorm.Forward(x), rotary, mask, cache)).to(ScalarType.Float32);
        attention?.Invoke(attended);
        x = x + attended;
        var gates = _gateUp.Forward(_postAttentionNorm.Forward(x).to(_dtype));
        var inner = nn.functional.silu(gates.narrow(-1, 0, _config.IntermediateSize)) * gates.narrow(-1, _config.IntermediateSize, _config.IntermediateSize);
        return (x + _down.Forward(inner).to(ScalarType.Float32)).MoveToOuterDisposeScope();
    }

    /// <summary>Every tensor under its key in the checkpoint.</summary>
    public IEnumerable<NamedWeight> Named(string prefix)
    {
        foreach (var linear in new[] { _queryKeyValue, _output, _gateUp, _down })
        {
            foreach (var named in linear.Named(prefix))
                yield return named;
        }

        yield return new NamedWeight(prefix + _config.Keys.InputNorm, _inputNorm.Weight);
        yield return new NamedWeight(prefix + _config.Keys.PostAttentionNorm, _postAttentionNorm.Weight);
        if (_headNorm is { } norm)
        {
            yield return new NamedWeight($"{prefix}self_attn.q_norm.gamma", norm.QueryGamma);
            yield return new NamedWeight($"{prefix}self_attn.k_norm.gamma", norm.KeyGamma);
        }
    }

    public void Dispose()
    {
        foreach (var part in new IDisposable?[] { _queryKeyValue, _output, _gateUp, _down, _inputNorm, _postAttentionNorm, _headNorm })
            part?.Dispose();
    }

    private Tensor Attend(Tensor normed, (Tensor Cos, Tensor Sin) rotary, Tensor? mask, LayerCache? cache)
    {
        var (batch, length) = (normed.shape[0], normed.shape[1]);
        var (heads, groups) = (_config.Heads, _config.KeyValueHeads);
        var heads3 = _queryKeyValue.Forward(normed.to(_dtype)).to(ScalarType.Float32).view(batch, length, heads + (2 * groups), _config.HeadSize);
        // Queries and keys lie side by side, so that one pass rotates both.
        var rotated = RotaryEmbedding.Apply(heads3.narrow(2, 0, heads + groups), rotary);
        if (_headNorm is { } norm)
            rotated = norm.Forward(rotated);
        var query = rotated.narrow(2, 0, heads).transpose(1, 2); // [B, L, H, D] -> [B, H, L, D]
        var key = rotated.narrow(2, heads, groups).transpose(1, 2);
        var value = heads3.narrow(2, heads + groups, groups).transpose(1, 2);
        if (cache is not null)
            (key, value) = cache.Append(key, value);
        return Attention.Grouped(query, key, value, mask).transpose(1, 2).reshape(batch, length, heads * _config.HeadSize).to(_dtype);
    }
}
