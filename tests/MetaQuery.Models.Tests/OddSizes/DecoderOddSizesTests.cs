using MetaQuery.Models.Checkpoints;
using MetaQuery.Models.Connector;
using MetaQuery.Models.Mllm;
using MetaQuery.TestKit;
using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Models.Tests.OddSizes;

/// <summary>Packed layers against plain ones where head, hidden and intermediate sizes fill no vector and heads are shared in odd numbers.</summary>
[LeakCheck]
public sealed class DecoderOddSizesTests
{
    private const double Tolerance = 2e-5; // of the largest value: rounding of a few hundred terms

    // heads, key heads, head size, hidden, intermediate, layers
    [Theory]
    [InlineData(7, 1, 10, 45, 77, 1, new[] { 1 })]
    [InlineData(6, 2, 6, 30, 31, 2, new[] { 300, 1, 33 })]
    [InlineData(5, 5, 34, 65, 129, 2, new[] { 2, 64 })]
    [InlineData(14, 2, 2, 28, 16, 3, new[] { 17 })]
    public void Packed_and_plain_decoders_agree(int heads, int keyHeads, int headSize, int hidden, int inner, int layers, int[] lengths)
    {
        using var mode = inference_mode();
        using var scope = NewDisposeScope();
        var config = new DecoderConfig
        {
            VocabularySize = 61, HiddenSize = hidden, IntermediateSize = inner, NumHiddenLayers = layers, NumAttentionHeads = heads, NumKeyValueHeads = keyHeads,
            HeadSize = headSize, RmsNormEpsilon = 1e-6, Rotary = new RotaryConfig(10000), QueryKeyValueBias = true, OutputBias = true, MlpBias = true,
        };
        using var weights = new RandomWeights(Shapes(config));
        using var plain = CausalDecoder.Load(config, weights);
        using var packed = CausalDecoder.Load(config, weights, packed: true);
        var rows = lengths.Select((length, i) => randint(0, config.VocabularySize, [1, length], dtype: ScalarType.Int64)).ToList();
        long[] offsets = [0, .. lengths.Select((_, i) => (long)lengths.Take(i + 1).Sum())];
        var together = packed.ForwardSequences(cat(rows.Select(row => packed.Embed(row).squeeze(0)).ToArray(), 0), offsets);
        for (var i = 0; i < rows.Count; i++)
        {
            var mask = ones_like(rows[i]);
            var expected = plain.Forward(plain.Embed(rows[i]), Attention.Positions(mask), Attention.CausalMask(mask, lengths[i])).squeeze(0);
            Near(expected, together.narrow(0, offsets[i], lengths[i]));
            Near(plain.Logits(expected), packed.Logits(together.narrow(0, offsets[i], lengths[i])));
        }
    }

    [Theory]
    [InlineData(2, 1, 20, 40, 1, 11, 1)]
    [InlineData(3, 3, 66, 50, 2, 33, 37)]
    [InlineData(1, 1, 96, 97, 1, 7, 300)]
    public void Packed_and_plain_connectors_agree(int heads, int keyHeads, int hidden, int inner, int layers, int output, int queries)
    {
        using var mode = inference_mode();
        using var scope = NewDisposeScope();
        var config = new ConnectorConfig(hidden, inner, layers, heads, keyHeads, output);
        using var weights = new RandomWeights(Shapes(config));
        using var plain = new MetaQueryConnector(config, weights);
        using var packed = new MetaQueryConnector(config, weights, packed: true);
        var states = randn([2, queries, hidden], dtype: ScalarType.Float32);
        Near(plain.Forward(states), packed.Forward(states));
    }

    [Fact]
    public void A_connector_with_an_odd_head_size_is_refused()
    {
        var config = new ConnectorConfig(18, 40, 1, 2, 2, 11);
        using var weights = new RandomWeights(Shapes(config));
        foreach (var packed in new[] { false, true })
            Assert.Contains("head size 9", Assert.Throws<CheckpointException>(() => new MetaQueryConnector(config, weights, packed: packed)).Message);
    }

    private static void Near(Tensor expected, Tensor actual)
    {
        using var scope = NewDisposeScope();
        var (largest, error) = (expected.abs().max().item<float>(), (actual - expected).abs().max().item<float>());
        Assert.True(error < Tolerance * largest, $"off by {error} where the largest value is {largest}");
    }

    private static Dictionary<string, long[]> Shapes(DecoderConfig config)
    {
        var shapes = new Dictionary<string, long[]>(StringComparer.Ordinal)
        {
            ["model.embed_tokens.weight"] = [config.VocabularySize, config.HiddenSize],
            ["lm_head.weight"] = [config.VocabularySize, config.HiddenSize],
            ["model.norm.weight"] = [config.HiddenSize],
        };
        for (var i = 0; i < config.NumHiddenLayers; i++)
            AddLayer(shapes, $"model.layers.{i}", config.HiddenSize, config.IntermediateSize, config.NumAttentionHeads * config.HeadSize, config.NumKeyValueHeads * config.HeadSize, bias: true);
        return shapes;
    }

    private static Dictionary<string, long[]> Shapes(ConnectorConfig config)
    {
        long headSize = config.HiddenSize / config.NumAttentionHeads;
        var shapes = new Dictionary<string, long[]>(StringComparer.Ordinal)
        {
            ["connector.1.weight"] = [config.OutputSize, config.HiddenSize],
            ["connector.1.bias"] = [config.OutputSize],
            ["connector.3.weight"] = [config.OutputSize, config.OutputSize],
            ["connector.3.bias"] = [config.OutputSize],
            ["connector.4.weight"] = [config.OutputSize],
        };
        for (var i = 0; i < config.NumHiddenLayers; i++)
        {
            var layer = $"connector.0.layers.{i}";
            AddLayer(shapes, layer, config.HiddenSize, config.IntermediateSize, config.HiddenSize, config.NumKeyValueHeads * headSize, bias: false);
            foreach (var (name, rows) in new[] { ("q", (long)config.HiddenSize), ("k", config.NumKeyValueHeads * headSize), ("v", config.NumKeyValueHeads * headSize) })
                shapes[$"{layer}.self_attn.{name}_proj.bias"] = [rows];
            shapes[$"{layer}.self_attn.q_norm.gamma"] = [config.NumAttentionHeads, 1, headSize];
            shapes[$"{layer}.self_attn.k_norm.gamma"] = [config.NumKeyValueHeads, 1, headSize];
        }

        return shapes;
    }

    private static void AddLayer(Dictionary<string, long[]> shapes, string layer, long hidden, long inner, long queries, long keys, bool bias)
    {
        foreach (var (name, rows, inputs) in new[]
        {
            ("self_attn.q_proj", queries, hidden), ("self_attn.k_proj", keys, hidden), ("self_attn.v_proj", keys, hidden), ("self_attn.o_proj", hidden, queries),
            ("mlp.gate_proj", inner, hidden), ("mlp.up_proj", inner, hidden), ("mlp.down_proj", hidden, inner),
        })
        {
            shapes[$"{layer}.{name}.weight"] = [rows, inputs];
            if (bias)
                shapes[$"{layer}.{name}.bias"] = [rows];
        }

        shapes[$"{layer}.input_layernorm.weight"] = [hidden];
        shapes[$"{layer}.post_attention_layernorm.weight"] = [hidden];
    }
}
