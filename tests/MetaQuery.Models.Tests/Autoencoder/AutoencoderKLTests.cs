using MetaQuery.Models.Autoencoder;
using MetaQuery.Models.Checkpoints;
using MetaQuery.TestKit;
using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Models.Tests.Autoencoder;

/// <summary>Stable Diffusion's autoencoder beside its golden cases: names of older checkpoints, tiles, scaling, refusals.</summary>
[LeakCheck]
public sealed class AutoencoderKLTests
{
    private static readonly string Golden = Path.Combine(RepositoryFolders.VisibleFixtures, "diffusion", "autoencoder-kl", "small-activations");

    private static string ConfigText => File.ReadAllText(Path.Combine(Golden, "config.json"));

    private static AutoencoderKLConfig Read(string json) => AutoencoderKLConfig.Read(ConfigFile.Parse("config.json", json));

    private static AutoencoderKL Load(string? json = null, WeightSource? source = null)
    {
        using var weights = HuggingFaceFolder.Open(Golden).OpenWeights();
        return AutoencoderKL.Load(source ?? weights, Read(json ?? ConfigText));
    }

    [Fact]
    public void Attention_under_the_names_of_older_checkpoints_is_the_same()
    {
        using var mode = inference_mode();
        using var scope = NewDisposeScope();
        using var weights = HuggingFaceFolder.Open(Golden).OpenWeights();
        using var old = new OldNames(weights);
        Assert.Contains("decoder.mid_block.attentions.0.proj_attn.weight", old.Keys);
        using var model = Load();
        using var older = Load(source: old);
        var latents = randn([1, 4, 5, 6], dtype: ScalarType.Float32);
        Assert.Equal(model.Decode(latents).data<float>().ToArray(), older.Decode(latents).data<float>().ToArray());
    }

    [Fact]
    public void A_tile_that_nothing_is_blended_into_is_decoded_as_if_alone()
    {
        using var mode = inference_mode();
        using var scope = NewDisposeScope();
        using var model = Load(); // two pixels a latent
        var latents = randn([1, 4, 20, 13], dtype: ScalarType.Float32);
        var whole = model.Decode(latents);
        model.Tiling = new AutoencoderTiling(16, 16, 12, 12);
        var tiled = model.Decode(latents);
        Assert.Equal(whole.shape, tiled.shape);
        // The first 12 pixels of the first tile are its own; behind them its neighbours' begin.
        var first = model.Decode(latents.narrow(2, 0, 8).narrow(3, 0, 8)).narrow(2, 0, 12).narrow(3, 0, 12);
        Assert.True((tiled.narrow(2, 0, 12).narrow(3, 0, 12) - first).abs().max().item<float>() < 1e-6);
        var second = model.Decode(latents.narrow(2, 0, 8).narrow(3, 6, 7)).narrow(2, 0, 12);
        // Four pixels of overlap fade from the first tile to the second; from the fifth on it is the second alone.
        Assert.True((tiled.narrow(2, 0, 12).narrow(3, 16, 8) - second.narrow(3, 4, 8)).abs().max().item<float>() < 1e-6);
        model.Tiling = new AutoencoderTiling(40, 26, 40, 26);
        Assert.Equal(whole.data<float>().ToArray(), model.Decode(latents).data<float>().ToArray());
    }

    [Fact]
    public void Latents_are_shifted_and_scaled_on_their_way_out_and_back_on_their_way_in()
    {
        using var mode = inference_mode();
        using var scope = NewDisposeScope();
        using var plain = Load();
        using var shifted = Load(ConfigText.Replace("\"shift_factor\": null", "\"shift_factor\": 0.25", StringComparison.Ordinal));
        var image = randn([1, 3, 8, 10], dtype: ScalarType.Float32).tanh();
        var (mean, _) = plain.Moments(image);
        var latents = shifted.Encode(image);
        Assert.True((latents - ((mean - 0.25) * 0.18215)).abs().max().item<float>() < 1e-6);
        Assert.True((shifted.Decode(latents) - plain.Decode(plain.Encode(image))).abs().max().item<float>() < 1e-5);
    }

    [Theory]
    [InlineData("\"latents_mean\": null", "\"latents_mean\": [0.1]", "latents_mean")]
    [InlineData("\"norm_num_groups\": 4", "\"norm_num_groups\": 3", "block_out_channels")]
    [InlineData("\"UpDecoderBlock2D\"", "\"AttnUpDecoderBlock2D\"", "up_block_types")]
    [InlineData("\"scaling_factor\": 0.18215", "\"scaling_factor\": 0", "scaling_factor")]
    [InlineData("\"act_fn\": \"silu\"", "\"act_fn\": 3", "act_fn")]
    public void A_part_that_is_not_built_is_refused_by_its_key(string usual, string changed, string key)
    {
        var json = ConfigText.Replace(usual, changed, StringComparison.Ordinal);
        Assert.NotEqual(ConfigText, json);
        var error = Assert.Throws<CheckpointException>(() => Read(json));
        Assert.Contains(key, error.Message, StringComparison.Ordinal);
        Assert.DoesNotContain('\n', error.Message);
    }

    [Fact]
    public void Pictures_that_are_not_divisible_into_latents_are_refused_with_both_numbers()
    {
        using var scope = NewDisposeScope();
        using var model = Load();
        Assert.Contains("9 x 8", Assert.Throws<ArgumentException>(() => model.Moments(zeros(1, 3, 9, 8))).Message);
        Assert.Contains("[B, 4, height, width]", Assert.Throws<ArgumentException>(() => model.Decode(zeros(1, 3, 9, 8))).Message);
    }

    /// <summary>The same checkpoint as diffusers wrote it before 0.15.</summary>
    private sealed class OldNames(WeightSource source) : WeightSource
    {
        public override string Path => source.Path;

        public override IReadOnlyCollection<string> Keys => [.. source.Keys.Select(Old)];

        public override bool Contains(string key) => Keys.Contains(key);

        public override WeightInfo Describe(string key) => source.Describe(New(key)) with { Key = key };

        public override Tensor Load(string key, ScalarType? dtype = null) => source.Load(New(key), dtype);

        private static string Old(string key) => key.Replace("to_q", "query", StringComparison.Ordinal).Replace("to_k", "key", StringComparison.Ordinal)
            .Replace("to_v", "value", StringComparison.Ordinal).Replace("to_out.0", "proj_attn", StringComparison.Ordinal);

        private string New(string key) => source.Keys.Single(name => Old(name) == key);
    }
}
