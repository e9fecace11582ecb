using MetaQuery.Models.Diffusion;
using MetaQuery.TestKit;
using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Models.Tests.OddSizes;

/// <summary>
/// The fused transformer against the plain one where no size is a multiple of a vector, a tile or a panel: other patches, head
/// sizes, ratios, grids and condition lengths than the golden cases have.
/// </summary>
[LeakCheck]
public sealed class SanaOddSizesTests
{
    private static readonly SanaTransformerConfig Plain = new()
    {
        InChannels = 5, OutChannels = 5, NumAttentionHeads = 3, AttentionHeadDim = 12, NumLayers = 2, NumCrossAttentionHeads = 5, CrossAttentionHeadDim = 6,
        CrossAttentionDim = 36, CaptionChannels = 7, MlpRatio = 1.7, AttentionBias = false, SampleSize = 9, PatchSize = 1, NormElementwiseAffine = false,
        NormEpsilon = 1e-6, InterpolationScale = null, QkNorm = false, GuidanceEmbeds = false, GuidanceEmbedsScale = 0.1, TimestepScale = 1,
    };

    private static SanaTransformerConfig Config(string name) => name switch
    {
        "plain" => Plain,
        "patch 3, other channels out, positions, every option" => Plain with
        {
            PatchSize = 3, OutChannels = 2, InterpolationScale = 1.5, AttentionBias = true, NormElementwiseAffine = true, QkNorm = true, GuidanceEmbeds = true,
        },
        "one layer, heads of 1" => Plain with { NumLayers = 1, NumAttentionHeads = 17, AttentionHeadDim = 1, CrossAttentionDim = 17, NumCrossAttentionHeads = 1, CrossAttentionHeadDim = 1 },
        "one wide head" => Plain with { NumAttentionHeads = 1, AttentionHeadDim = 140, CrossAttentionDim = 140, NumCrossAttentionHeads = 2, CrossAttentionHeadDim = 33, MlpRatio = 3 },
        _ => throw new ArgumentOutOfRangeException(nameof(name)),
    };

    [Theory]
    [InlineData("plain", 1, 1, 1, 1)]
    [InlineData("plain", 7, 5, 300, 2)]
    [InlineData("patch 3, other channels out, positions, every option", 9, 15, 17, 3)]
    [InlineData("one layer, heads of 1", 3, 11, 15, 2)]
    [InlineData("one wide head", 2, 19, 31, 1)]
    public void Fused_and_plain_agree(string name, int height, int width, int tokens, int rows)
    {
        using var mode = inference_mode();
        using var scope = NewDisposeScope();
        var config = Config(name);
        using var weights = new RandomWeights(Shapes(config));
        using var plain = SanaTransformer2DModel.Load(weights, config);
        using var fused = FusedSanaTransformer.Load(weights, config, FusedPrecision.Float32);
        var latents = randn([rows, config.InChannels, height, width], dtype: ScalarType.Float32);
        var condition = randn([rows, tokens, config.CaptionChannels], dtype: ScalarType.Float32);
        float[] timesteps = [.. Enumerable.Range(0, rows).Select(row => 700.5f - (300 * row))];
        float[] guidance = config.GuidanceEmbeds ? [.. timesteps.Select(_ => 0.45f)] : [];

        using var context = plain.Prepare(condition);
        var expected = plain.Forward(latents, timesteps, context, guidance);

        var contexts = Enumerable.Range(0, rows).Select(row => fused.Prepare(condition[row].contiguous().data<float>().ToArray(), tokens)).ToArray();
        using var workspace = new FusedSanaWorkspace(threads: 1);
        var velocity = new float[rows * config.OutChannels * height * width];
        fused.Forward(latents.data<float>().ToArray(), rows, height, width, timesteps, contexts, velocity, workspace, guidance);
        Array.ForEach(contexts, one => one.Dispose());

        // Rounding of a few hundred terms; a lane that should not count would be off by the size of a value.
        var largest = expected.abs().max().item<float>();
        var error = (tensor(velocity, expected.shape) - expected).abs().max().item<float>();
        Assert.True(error < 2e-5 * largest, $"off by {error} where the largest value is {largest}");
    }

    // The layout of diffusers 0.33's SanaTransformer2DModel.
    private static Dictionary<string, long[]> Shapes(SanaTransformerConfig config)
    {
        var shapes = new Dictionary<string, long[]>(StringComparer.Ordinal);
        long width = config.Width, cross = config.CrossWidth, hidden = (long)(config.MlpRatio * config.Width), patch = config.PatchSize;
        void Layer(string name, bool bias, params long[] weight)
        {
            shapes[$"{name}.weight"] = weight;
            if (bias)
            {
                shapes[$"{name}.bias"] = [weight[0]];
            }
        }

        Layer("patch_embed.proj", true, width, config.InChannels, patch, patch);
        foreach (var embedder in config.GuidanceEmbeds ? new[] { "timestep_embedder", "guidance_embedder" } : ["emb.timestep_embedder"])
        {
            Layer($"time_embed.{embedder}.linear_1", true, width, 256);
            Layer($"time_embed.{embedder}.linear_2", true, width, width);
        }

        Layer("time_embed.linear", true, 6 * width, width);
        Layer("caption_projection.linear_1", true, width, config.CaptionChannels);
        Layer("caption_projection.linear_2", true, width, width);
        Layer("caption_norm", false, width);
        shapes["scale_shift_table"] = [2, width];
        Layer("proj_out", true, patch * patch * config.OutChannels, width);
        for (var i = 0; i < config.NumLayers; i++)
        {
            var block = $"transformer_blocks.{i}";
            shapes[$"{block}.scale_shift_table"] = [6, width];
            foreach (var part in new[] { "to_q", "to_k", "to_v" })
            {
                Layer($"{block}.attn1.{part}", config.AttentionBias, width, width);
                Layer($"{block}.attn2.{part}", true, cross, width);
            }

            Layer($"{block}.attn1.to_out.0", true, width, width);
            Layer($"{block}.attn2.to_out.0", true, width, cross);
            Layer($"{block}.ff.conv_inverted", true, 2 * hidden, width, 1, 1);
            Layer($"{block}.ff.conv_depth", true, 2 * hidden, 1, 3, 3);
            Layer($"{block}.ff.conv_point", false, width, hidden, 1, 1);
            foreach (var norm in config.QkNorm ? new[] { "norm_q", "norm_k" } : [])
            {
                Layer($"{block}.attn1.{norm}", false, width);
                Layer($"{block}.attn2.{norm}", false, cross);
            }

            foreach (var norm in config.NormElementwiseAffine ? new[] { "norm2" } : [])
            {
                Layer($"{block}.{norm}", true, width);
            }
        }

        return shapes;
    }
}
