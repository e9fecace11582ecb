using MetaQuery.Kernels;
using MetaQuery.Models.Checkpoints;
using MetaQuery.Models.Diffusion;
using MetaQuery.TestKit;
using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Models.Tests.Diffusion;

/// <summary>The fused transformer against the plain one, on golden checkpoints of several shapes. Needs AVX2, as the fused one does.</summary>
[LeakCheck]
public sealed class FusedSanaTests
{
    private static readonly string Cases = Path.Combine(RepositoryFolders.VisibleFixtures, "diffusion", "sana-transformer");

    private static float[] Values(int seed, int count)
    {
        var random = new Random(seed);
        return [.. Enumerable.Range(0, count).Select(_ => (random.NextSingle() * 4) - 2)];
    }

    private static FusedSanaTransformer LoadFused(string name, FusedPrecision precision)
    {
        var folder = HuggingFaceFolder.Open(Path.Combine(Cases, name));
        using var weights = folder.OpenWeights();
        return FusedSanaTransformer.Load(weights, SanaTransformerConfig.Read(folder.ReadConfig()), precision);
    }

    private static float[] Run(
        FusedSanaTransformer model, int height, int width, float[] timesteps, float[][] latents, FusedSanaContext[] contexts, int threads = 1)
    {
        using var workspace = new FusedSanaWorkspace(threads);
        var velocity = new float[contexts.Length * model.Config.OutChannels * height * width];
        model.Forward(
            [.. latents.SelectMany(row => row)], latents.Length, height, width, timesteps, contexts, velocity, workspace,
            model.Config.GuidanceEmbeds ? [.. timesteps.Select(_ => 0.45f)] : []);
        return velocity;
    }

    // Odd grids, so that rows end inside the kernels' vectors and blocks.
    [Theory]
    [InlineData("base", 7, 5, 1)]
    [InlineData("base", 16, 16, 2)]
    [InlineData("patch2-positions", 6, 10, 1)]
    [InlineData("qk-norm-guidance", 5, 3, 1)]
    public void A_row_has_the_same_bits_alone_and_at_any_place_of_any_batch(string name, int height, int width, int threads)
    {
        using var model = LoadFused(name, FusedPrecision.Float32);
        var config = model.Config;
        var latents = Enumerable.Range(0, 9).Select(i => Values(i, config.InChannels * height * width)).ToArray();
        var contexts = Enumerable.Range(0, 9).Select(i => model.Prepare(Values(100 + i, (3 + (i % 2)) * config.CaptionChannels), 3 + (i % 2))).ToArray();
        var together = Run(model, height, width, [500], latents, contexts, threads);
        var perRow = together.Length / 9;
        for (var i = 0; i < 9; i++)
        {
            var alone = Run(model, height, width, [500], [latents[i]], [contexts[i]]);
            Assert.Equal(alone, together[(i * perRow)..((i + 1) * perRow)]);
        }

        Assert.NotEqual(together[..perRow], together[perRow..(2 * perRow)]);
        Array.ForEach(contexts, context => context.Dispose());
    }

    [Fact]
    public void Rows_with_timesteps_of_their_own_equal_rows_that_share_one()
    {
        using var model = LoadFused("base", FusedPrecision.Float32);
        var latents = new[] { Values(1, model.Config.InChannels * 16), Values(2, model.Config.InChannels * 16) };
        using var context = model.Prepare(Values(3, 4 * model.Config.CaptionChannels), 4);
        var shared = Run(model, 4, 4, [250.5f], latents, [context, context]);
        Assert.Equal(shared, Run(model, 4, 4, [250.5f, 250.5f], latents, [context, context]));
    }

    // bfloat16 keeps 8 bits, so a product's relative error is near 2^-9 per factor; over a few blocks some 1 % of the largest value.
    [Theory]
    [InlineData("base")]
    [InlineData("patch2-positions")]
    public void Bfloat16_stays_within_two_percent_of_float32(string name)
    {
        using var wide = LoadFused(name, FusedPrecision.Float32);
        if (FusedSanaTransformer.WhyUnsupported(wide.Config, FusedPrecision.BFloat16) is not null)
        {
            Assert.Throws<NotSupportedException>(() => LoadFused(name, FusedPrecision.BFloat16));
            return;
        }

        using var narrow = LoadFused(name, FusedPrecision.BFloat16);
        var latents = new[] { Values(1, wide.Config.InChannels * 64) };
        var condition = Values(3, 4 * wide.Config.CaptionChannels);
        using var wideContext = wide.Prepare(condition, 4);
        using var narrowContext = narrow.Prepare(condition, 4);
        var expected = Run(wide, 8, 8, [700], latents, [wideContext]);
        var actual = Run(narrow, 8, 8, [700], latents, [narrowContext]);
        Assert.NotEqual(expected, actual);
        Assert.True(expected.Zip(actual, (a, b) => Math.Abs(a - b)).Max() < 0.02 * expected.Max(Math.Abs));
    }

    [Fact]
    public void Latents_that_do_not_divide_into_patches_are_refused_with_both_numbers()
    {
        using var model = LoadFused("patch2-positions", FusedPrecision.Float32);
        using var context = model.Prepare(Values(3, 4 * model.Config.CaptionChannels), 4);
        var error = Assert.Throws<ArgumentException>(() => Run(model, 5, 4, [1], [Values(1, model.Config.InChannels * 20)], [context]));
        Assert.Contains("5 x 4", error.Message);
        Assert.Contains("2 x 2", error.Message);
    }

    [Fact]
    public void A_misshapen_tensor_is_named_with_its_file_and_both_shapes()
    {
        var folder = HuggingFaceFolder.Open(Path.Combine(Cases, "base"));
        var config = SanaTransformerConfig.Read(folder.ReadConfig()) with { CaptionChannels = 7 };
        using var weights = folder.OpenWeights();
        foreach (var load in new Action[]
        {
            () => FusedSanaTransformer.Load(weights, config, FusedPrecision.Float32), () => SanaTransformer2DModel.Load(weights, config),
        })
        {
            var error = Assert.Throws<CheckpointException>(load);
            Assert.Contains("caption_projection.linear_1.weight", error.Message);
            Assert.Contains("[64, 48]", error.Message);
            Assert.Contains("[64, 7]", error.Message);
        }
    }
}
