using MetaQuery.Models.Autoencoder;
using MetaQuery.Models.Diffusion;
using MetaQuery.TestKit;
using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Models.Tests.OddSizes;

/// <summary>The fused picture decoder against the plain one at channels, head sizes and grids that fill no vector, and with a resampling at its end.</summary>
[LeakCheck]
public sealed class DecoderDCOddSizesTests
{
    [Theory]
    [InlineData("odd channels", 1, 1)]
    [InlineData("odd channels", 3, 7)]
    [InlineData("two scales, relu", 5, 2)]
    [InlineData("ends in a resampling", 2, 3)]
    public void Fused_and_plain_agree(string name, int height, int width)
    {
        using var mode = inference_mode();
        using var scope = NewDisposeScope();
        var config = Config(name);
        using var weights = new RandomWeights(Shapes(config));
        using var plain = AutoencoderDC.Load(weights, config, withEncoder: false);
        using var fused = FusedDecoder.Load(weights, config, FusedPrecision.Float32);
        using var workspace = new FusedDecoderWorkspace(threads: 1);
        for (var picture = 0; picture < 2; picture++) // the second one in used buffers
        {
            var latents = randn([1, config.LatentChannels, height, width], dtype: ScalarType.Float32);
            var expected = plain.Decode(latents);
            var image = new float[expected.numel()];
            fused.Decode(latents.data<float>().ToArray(), height, width, image, workspace);
            var (largest, error) = (expected.abs().max().item<float>(), (tensor(image, expected.shape) - expected).abs().max().item<float>());
            Assert.True(error < 5e-5 * largest, $"picture {picture}: off by {error} where the largest value is {largest}");
        }
    }

    private static AutoencoderDCConfig Config(string name)
    {
        AutoencoderDCStages Stages(string[] types, int[] channels, int[] layers, int[][] scales, string activation) =>
            new(types, channels, layers, scales, [.. types.Select(_ => activation)]);
        var side = name switch
        {
            "odd channels" => Stages(["ResBlock", "EfficientViTBlock", "EfficientViTBlock"], [5, 10, 20], [1, 1, 2], [[], [], [5]], "silu"),
            "two scales, relu" => Stages(["ResBlock", "EfficientViTBlock"], [9, 18], [2, 2], [[], [3, 5]], "relu"),
            "ends in a resampling" => Stages(["ResBlock", "ResBlock", "EfficientViTBlock"], [3, 14, 28], [0, 1, 1], [[], [], [3]], "silu"),
            _ => throw new ArgumentOutOfRangeException(nameof(name)),
        };
        return new AutoencoderDCConfig
        {
            InChannels = 3, LatentChannels = side.Channels[^1] / 2, AttentionHeadDim = 3, Encoder = side, Decoder = side, PixelShuffleUp = false, PixelUnshuffleDown = false,
            ScalingFactor = 0.41407,
        };
    }

    // The layout of diffusers 0.33's AutoencoderDC, decoder half.
    private static Dictionary<string, long[]> Shapes(AutoencoderDCConfig config)
    {
        var (shapes, side) = (new Dictionary<string, long[]>(StringComparer.Ordinal), config.Decoder);
        void Layer(string name, bool bias, params long[] weight)
        {
            shapes[$"decoder.{name}.weight"] = weight;
            if (bias)
                shapes[$"decoder.{name}.bias"] = [weight[0]];
        }

        Layer("conv_in", true, side.Channels[^1], config.LatentChannels, 3, 3);
        for (var stage = 0; stage < side.Channels.Count; stage++)
        {
            long channels = side.Channels[stage];
            var first = stage < side.Channels.Count - 1 && side.Layers[stage] > 0 ? 1 : 0;
            if (first == 1)
                Layer($"up_blocks.{stage}.0.conv", true, channels, side.Channels[stage + 1], 3, 3);
            for (var i = first; i < first + side.Layers[stage]; i++)
                Block($"up_blocks.{stage}.{i}", side.BlockTypes[stage], channels, side.QkvMultiscales[stage]);
        }

        long last = side.Layers[0] > 0 ? side.Channels[0] : side.Channels[1];
        Layer("norm_out", true, last);
        Layer(side.Layers[0] > 0 ? "conv_out" : "conv_out.conv", true, config.InChannels, last, 3, 3);
        return shapes;

        void Block(string name, string type, long channels, int[] scales)
        {
            if (type == "ResBlock")
            {
                Layer($"{name}.conv1", true, channels, channels, 3, 3);
                Layer($"{name}.conv2", false, channels, channels, 3, 3);
                Layer($"{name}.norm", true, channels);
                return;
            }

            long head = config.AttentionHeadDim, inner = channels / head * head, hidden = 4 * channels;
            foreach (var part in new[] { "to_q", "to_k", "to_v" })
                Layer($"{name}.attn.{part}", false, inner, channels);
            for (var i = 0; i < scales.Length; i++)
            {
                Layer($"{name}.attn.to_qkv_multiscale.{i}.proj_in", false, 3 * inner, 1, scales[i], scales[i]);
                Layer($"{name}.attn.to_qkv_multiscale.{i}.proj_out", false, 3 * inner, head, 1, 1);
            }

            Layer($"{name}.attn.to_out", false, channels, inner * (1 + scales.Length));
            Layer($"{name}.attn.norm_out", true, channels);
            Layer($"{name}.conv_out.conv_inverted", true, 2 * hidden, channels, 1, 1);
            Layer($"{name}.conv_out.conv_depth", true, 2 * hidden, 1, 3, 3);
            Layer($"{name}.conv_out.conv_point", false, channels, hidden, 1, 1);
            Layer($"{name}.conv_out.norm", true, channels);
        }
    }
}
