using MetaQuery.Models.Connector;
using MetaQuery.Models.Tests.OddSizes;
using MetaQuery.TestKit;
using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Models.Tests.Mllm;

/// <summary>Enc-Proj and Proj-Enc at several depths: shapes, keys, both ways of computing, and gradients.</summary>
[LeakCheck]
public sealed class ConnectorKindTests
{
    private const int Hidden = 48;
    private const int Output = 30;

    [Theory]
    [InlineData(ConnectorKind.EncoderProjection, 0)]
    [InlineData(ConnectorKind.EncoderProjection, 3)]
    [InlineData(ConnectorKind.ProjectionEncoder, 0)]
    [InlineData(ConnectorKind.ProjectionEncoder, 1)]
    [InlineData(ConnectorKind.ProjectionEncoder, 4)]
    public void Packed_and_plain_agree_and_the_loss_falls_as_the_gradient_says(ConnectorKind kind, int layers)
    {
        using var scope = NewDisposeScope();
        var config = Config(kind, layers);
        using var weights = new RandomWeights(Shapes(config));
        using var plain = new MetaQueryConnector(config, weights);
        using var packed = new MetaQueryConnector(config, weights, packed: true);
        Assert.Equal(Shapes(config).Keys.Order(StringComparer.Ordinal), plain.Named().Select(weight => weight.Key).Order(StringComparer.Ordinal));
        var states = randn([2, 7, Hidden], dtype: ScalarType.Float32, generator: new Generator(1));
        using (inference_mode())
        {
            var (expected, found) = (plain.Forward(states), packed.Forward(states));
            Assert.Equal([2L, 7L, Output], expected.shape);
            // rounding of a few hundred terms a layer
            Assert.True((expected - found).abs().max().item<float>() <= 2e-5 * (layers + 1) * expected.abs().max().item<float>());
        }

        var target = randn([2, 7, Output], dtype: ScalarType.Float32, generator: new Generator(2));
        states.requires_grad = true;
        foreach (var weight in plain.Named())
            weight.Holder.requires_grad = true;
        Tensor Loss() => nn.functional.mse_loss(plain.Forward(states), target);
        Loss().backward();
        // float32's rounding of a loss near 1 over twice the step, against slopes of a hundredth and more
        foreach (var holder in plain.Named().Select(weight => weight.Holder).Where(holder => holder.grad is { } gradient && gradient.norm().item<float>() > 1e-2).Prepend(states))
            GradientChecks.Falls(holder, Loss, step: 2e-3, tolerance: 0.02);
    }

    [Fact]
    public void Of_the_references_shapes_the_encoder_has_the_width_of_where_it_stands()
    {
        var before = ConnectorConfig.OfReference(2048, 24, 2304);
        var behind = ConnectorConfig.OfReference(2048, 24, 2304, ConnectorKind.ProjectionEncoder);
        Assert.Equal((2048, 8192, 32), (before.EncoderSize, before.IntermediateSize, before.NumAttentionHeads));
        Assert.Equal((2304, 9216, 36), (behind.EncoderSize, behind.IntermediateSize, behind.NumAttentionHeads));
    }

    private static ConnectorConfig Config(ConnectorKind kind, int layers) => new(Hidden, 40, layers, 3, 3, Output) { Kind = kind };

    private static Dictionary<string, long[]> Shapes(ConnectorConfig config)
    {
        var (encoder, first, second) = config.Kind == ConnectorKind.EncoderProjection ? ("connector.0", "connector.1", "connector.3") : ("connector.3", "connector.0", "connector.2");
        var width = config.EncoderSize;
        var shapes = new Dictionary<string, long[]>
        {
            [$"{first}.weight"] = [Output, Hidden], [$"{first}.bias"] = [Output], [$"{second}.weight"] = [Output, Output], [$"{second}.bias"] = [Output], ["connector.4.weight"] = [Output],
        };
        for (var i = 0; i < config.NumHiddenLayers; i++)
        {
            var layer = $"{encoder}.layers.{i}.";
            foreach (var name in new[] { "q", "k", "v" })
                (shapes[$"{layer}self_attn.{name}_proj.weight"], shapes[$"{layer}self_attn.{name}_proj.bias"]) = ([width, width], [width]);
            shapes[$"{layer}self_attn.o_proj.weight"] = [width, width];
            foreach (var name in new[] { "q", "k" })
                shapes[$"{layer}self_attn.{name}_norm.gamma"] = [config.NumAttentionHeads, 1, width / config.NumAttentionHeads];
            (shapes[$"{layer}mlp.gate_proj.weight"], shapes[$"{layer}mlp.up_proj.weight"], shapes[$"{layer}mlp.down_proj.weight"]) = ([config.IntermediateSize, width], [config.IntermediateSize, width], [width, config.IntermediateSize]);
            (shapes[$"{layer}input_layernorm.weight"], shapes[$"{layer}post_attention_layernorm.weight"]) = ([width], [width]);
        }

        return shapes;
    }
}
