using MetaQuery.Models.Checkpoints;
using MetaQuery.Models.Diffusion;
using MetaQuery.TestKit;
using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Models.Tests.Diffusion;

/// <summary>Stable Diffusion's UNet beside its golden cases: options that change the checkpoint's layout, odd sizes, refusals.</summary>
[LeakCheck]
public sealed class UNetTests
{
    private static readonly string Golden = Path.Combine(RepositoryFolders.VisibleFixtures, "diffusion", "unet2d-condition", "small-activations");

    private static string ConfigText => File.ReadAllText(Path.Combine(Golden, "config.json"));

    private static UNet2DConditionConfig Read(string json) => UNet2DConditionConfig.Read(ConfigFile.Parse("config.json", json));

    private static UNet2DConditionModel Load(Func<string, string>? change = null, WeightSource? source = null)
    {
        using var weights = HuggingFaceFolder.Open(Golden).OpenWeights();
        return UNet2DConditionModel.Load(source ?? weights, Read(change?.Invoke(ConfigText) ?? ConfigText));
    }

    private static Tensor Run(UNet2DConditionModel model, Tensor latents, Tensor condition)
    {
        using var context = model.Prepare(condition);
        return model.Forward(latents, [.. Enumerable.Range(0, (int)latents.shape[0]).Select(row => 700f - row)], context);
    }

    [Theory]
    [InlineData(8, 8)]
    [InlineData(7, 5)]
    [InlineData(1, 3)]
    public void A_row_is_the_same_alone_and_in_a_batch_at_any_size(int height, int width)
    {
        using var mode = inference_mode();
        using var scope = NewDisposeScope();
        using var model = Load();
        var latents = randn([1, 4, height, width], dtype: ScalarType.Float32);
        var condition = randn([1, 5, 24], dtype: ScalarType.Float32);
        var alone = Run(model, latents, condition);
        Assert.Equal([1, 4, height, width], alone.shape);
        var both = Run(model, latents.repeat(2, 1, 1, 1), condition.repeat(2, 1, 1));
        // Convolutions may add up in another order for another batch; the pipeline takes rows one by one for that reason.
        Assert.True((both.narrow(0, 0, 1) - alone).abs().max().item<float>() <= 1e-5 * alone.abs().max().item<float>());
    }

    [Fact]
    public void Linear_projections_are_the_convolutions_of_one_pixel()
    {
        using var mode = inference_mode();
        using var scope = NewDisposeScope();
        using var plain = Load();
        using var weights = HuggingFaceFolder.Open(Golden).OpenWeights();
        using var flattened = new FlattenedProjections(weights);
        using var linear = Load(json => json.Replace("\"use_linear_projection\": false", "\"use_linear_projection\": true", StringComparison.Ordinal), flattened);
        var (latents, condition) = (randn([1, 4, 6, 8], dtype: ScalarType.Float32), randn([1, 3, 24], dtype: ScalarType.Float32));
        var expected = Run(plain, latents, condition);
        Assert.True((Run(linear, latents, condition) - expected).abs().max().item<float>() <= 1e-5 * expected.abs().max().item<float>());
    }

    [Fact]
    public void Many_queries_in_parts_attend_as_all_at_once()
    {
        using var mode = inference_mode();
        using var scope = NewDisposeScope();
        using var model = Load();
        // 96 x 96 positions: 2 heads of 9216² scores are more than one part holds.
        var condition = randn([1, 3, 24], dtype: ScalarType.Float32);
        var wide = Run(model, randn([1, 4, 96, 96], dtype: ScalarType.Float32), condition);
        Assert.True(wide.isfinite().all().item<bool>());
        var uniform = Run(model, ones([1, 4, 96, 96]), condition);
        // Where every picture row is the same, so is every inner output row; a part's edge would show.
        var inner = uniform.narrow(2, 24, 48).narrow(3, 24, 48);
        Assert.True((inner - inner.mean([2L, 3L], keepdim: true)).abs().max().item<float>() <= 1e-4 * uniform.abs().max().item<float>());
    }

    // Training moves what makes the condition while the UNet stands still. A step of 1e-2 along the gradient changes the output by its squared length
    // times 1e-2; single precision and the curvature leave a few per cent.
    [Fact]
    public void Gradients_reach_the_condition_and_the_latents()
    {
        using var scope = NewDisposeScope();
        using var model = Load();
        using var seeded = new Generator(7);
        var latents = randn([2, 4, 6, 8], dtype: ScalarType.Float32, generator: seeded);
        var condition = randn([2, 3, 24], dtype: ScalarType.Float32, generator: seeded);
        var weights = randn([2, 4, 6, 8], dtype: ScalarType.Float32, generator: seeded);
        var (movedLatents, movedCondition) = (latents.clone().requires_grad_(), condition.clone().requires_grad_());
        (Run(model, movedLatents, movedCondition) * weights).sum().backward();
        foreach (var (gradient, along) in new[] { (movedLatents.grad!, true), (movedCondition.grad!, false) })
        {
            var length = gradient.norm().item<float>();
            Assert.True(length > 0);
            var step = gradient * (1e-2 / length);
            double Value(int sign) => (Run(model, along ? latents + (step * sign) : latents, along ? condition : condition + (step * sign)) * weights).sum().item<float>();
            Assert.Equal(length, (Value(1) - Value(-1)) / 2e-2, 0.03 * length);
        }
    }

    [Theory]
    [InlineData("\"addition_embed_type\": null", "\"addition_embed_type\": \"text_time\"", "addition_embed_type")]
    [InlineData("\"class_embed_type\": null", "\"class_embed_type\": \"timestep\"", "class_embed_type")]
    [InlineData("\"num_attention_heads\": null", "\"num_attention_heads\": 4", "num_attention_heads")]
    [InlineData("\"time_embedding_type\": \"positional\"", "\"time_embedding_type\": \"fourier\"", "time_embedding_type")]
    [InlineData("\"attention_type\": \"default\"", "\"attention_type\": \"gated\"", "attention_type")]
    [InlineData("\"dual_cross_attention\": false", "\"dual_cross_attention\": true", "dual_cross_attention")]
    [InlineData("\"act_fn\": \"silu\"", "\"act_fn\": \"swoosh\"", "act_fn")]
    [InlineData("\"resnet_time_scale_shift\": \"default\"", "\"resnet_time_scale_shift\": \"ada_group\"", "resnet_time_scale_shift")]
    [InlineData("\"norm_num_groups\": 8", "\"norm_num_groups\": 5", "norm_num_groups")]
    [InlineData("\"layers_per_block\": 1", "\"layers_per_block\": [1]", "layers_per_block")]
    [InlineData("\"attention_head_dim\": 2", "\"attention_head_dim\": 40", "attention_head_dim")]
    [InlineData("\"cross_attention_dim\": 24", "\"cross_attention_dim\": [24, 12]", "cross_attention_dim")]
    [InlineData("\"UpBlock2D\"", "\"AttnUpBlock2D\"", "up_block_types")]
    [InlineData("\"mid_block_type\": \"UNetMidBlock2DCrossAttn\"", "\"mid_block_type\": \"UNetMidBlock2DSimpleCrossAttn\"", "mid_block_type")]
    public void A_part_that_is_not_built_is_refused_by_its_key(string usual, string changed, string key)
    {
        var json = ConfigText.Replace(usual, changed, StringComparison.Ordinal);
        Assert.NotEqual(ConfigText, json);
        var error = Assert.Throws<CheckpointException>(() => Read(json));
        Assert.Contains(key, error.Message, StringComparison.Ordinal);
        Assert.DoesNotContain('\n', error.Message);
    }

    [Fact]
    public void A_file_without_values_is_Stable_Diffusions_with_a_wider_condition()
    {
        var config = Read("{}");
        Assert.Equal([320, 640, 1280, 1280], config.Down.Select(stage => stage.Channels));
        Assert.Equal([true, true, true, false], config.Down.Select(stage => stage.HasAttention));
        Assert.Equal([false, true, true, true], config.Up.Select(stage => stage.HasAttention));
        Assert.All(config.Down, stage => Assert.Equal((2, 8), (stage.Layers, stage.Heads)));
        Assert.Equal((1280, 1280, "UNetMidBlock2DCrossAttn"), (config.TimeEmbeddingDim, config.CrossAttentionDim, config.MidBlockType));
    }

    /// <summary>The same checkpoint with its projections as linear layers.</summary>
    private sealed class FlattenedProjections(WeightSource source) : WeightSource
    {
        public override string Path => source.Path;

        public override IReadOnlyCollection<string> Keys => source.Keys;

        public override bool Contains(string key) => source.Contains(key);

        public override WeightInfo Describe(string key) =>
            source.Describe(key) is var info && IsProjection(key) ? info with { Shape = [.. info.Shape.Take(2)] } : info;

        public override Tensor Load(string key, ScalarType? dtype = null)
        {
            if (!IsProjection(key))
            {
                return source.Load(key, dtype);
            }

            using var four = source.Load(key, dtype);
            return four.reshape(four.shape[0], four.shape[1]);
        }

        private static bool IsProjection(string key) => key.EndsWith("proj_in.weight", StringComparison.Ordinal) || key.EndsWith("proj_out.weight", StringComparison.Ordinal);
    }
}
