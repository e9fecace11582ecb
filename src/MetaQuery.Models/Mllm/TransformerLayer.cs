using MetaQuery.Models.Checkpoints;
using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Models.Mllm;

/// <summary>Sizes of one layer. A decoder's and a connector's layer differ in these alone, and in the mask they are given.</summary>
/// <param name="HeadNorm">Whether rotated queries and keys are normalised per head: the connector does so.</param>
public sealed record TransformerLayerConfig(
    int HiddenSize, int IntermediateSize, int Heads, int KeyValueHeads, int HeadSize, double RmsNormEpsilon,
    bool QueryKeyValueBias, bool OutputBias, bool MlpBias, bool HeadNorm);

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
        var (hidden, inner) = (config.HiddenSize, config.IntermediateSize);
        var (queries, keys) = (config.Heads * config.HeadSize, config.KeyValueHeads * config.HeadSize);
        try
        {
            _queryKeyValue = FusedLinear.Load(source, hidden, config.QueryKeyValueBias, dtype, device,
                ("self_attn.q_proj", queries), ("self_attn.k_proj", keys), ("self_attn.v_proj", keys));
            _output = FusedLinear.Load(source, queries, config.OutputBias, dtype, device, ("self_attn.o_proj", hidden));
            _gateUp = FusedLinear.Load(source, hidden, config.MlpBias, dtype, device, ("mlp.gate_proj", inner), ("mlp.up_proj", inner));
            _down = FusedLinear.Load(source, inner, config.MlpBias, dtype, device, ("mlp.down_proj", hidden));
            _inputNorm = RmsNorm.Load(source, "input_layernorm.weight", hidden, config.RmsNormEpsilon, device);
            _postAttentionNorm = RmsNorm.Load(source, "post_attention_layernorm.weight", hidden, config.RmsNormEpsilon, device);
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

        yield return new NamedWeight($"{prefix}input_layernorm.weight", _inputNorm.Weight);
        yield return new NamedWeight($"{prefix}post_attention_layernorm.weight", _postAttentionNorm.Weight);
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
