using MetaQuery.Models.Vision;
using MetaQuery.TestKit;
using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Models.Tests.OddSizes;

/// <summary>Packed vision towers against plain ones where head, hidden and intermediate sizes fill no vector and windows are cut at the edges.</summary>
[LeakCheck]
public sealed class VisionOddSizesTests
{
    private const double Tolerance = 3e-5; // of the largest value: rounding of a few hundred terms

    // hidden, heads, intermediate, window in pixels, patch, merge, frames, rows and columns of patches
    [Theory]
    [InlineData(36, 3, 41, 24, 3, 2, 2, 14, 10)]
    [InlineData(24, 2, 17, 8, 4, 1, 1, 5, 7)]
    [InlineData(40, 2, 33, 90, 5, 3, 3, 9, 3)]
    [InlineData(64, 4, 96, 112, 14, 2, 2, 8, 8)]
    [InlineData(16, 4, 9, 112, 14, 2, 2, 2, 2)]
    public void Packed_and_plain_Qwen_towers_agree(int hidden, int heads, int inner, int window, int patch, int merge, int frames, int rows, int columns)
    {
        using var mode = inference_mode();
        using var scope = NewDisposeScope();
        var config = new QwenVisionConfig
        {
            Depth = 3, HiddenSize = hidden, IntermediateSize = inner, NumHeads = heads, Channels = 3, PatchSize = patch, SpatialMergeSize = merge,
            TemporalPatchSize = frames, WindowSize = window, OutputSize = 21, FullAttentionBlocks = [1], ImageTokenId = 5,
        };
        using var weights = new RandomWeights(Shapes(config));
        using var plain = new QwenVisionTower(config, weights);
        using var packed = new QwenVisionTower(config, weights, packed: true);
        using var rounded = new QwenVisionTower(config, weights, ScalarType.BFloat16, packed: true);
        var image = new ImageInput(randn([(long)rows * columns, config.PatchLength], dtype: ScalarType.Float32), rows, columns, rows * patch, columns * patch);
        using var expected = plain.Encode(image);
        using var actual = packed.Encode(image);
        using var near = rounded.Encode(image);
        Assert.Equal([(long)rows / merge * (columns / merge), 21], actual.States.shape);
        Assert.Equal((rows / merge, columns / merge), (actual.Rows, actual.Columns));
        Near(expected.States, actual.States, Tolerance);
        Near(expected.States, near.States, 0.06); // a dozen products whose inputs are rounded to 2^-9
    }

    // hidden, heads (of odd sizes too), intermediate, side, patch, activation, tiles, states that are read
    [Theory]
    [InlineData(45, 5, 31, 28, 7, VisionActivation.GeluTanh, 1, 1, new[] { 2 })]
    [InlineData(22, 2, 50, 15, 4, VisionActivation.Gelu, 2, 3, new[] { 1, 2 })]
    [InlineData(33, 3, 64, 12, 6, VisionActivation.QuickGelu, 4, 1, new[] { 0, 2, 1 })]
    [InlineData(32, 2, 32, 12, 4, VisionActivation.Silu, 3, 5, new[] { 1 })]
    [InlineData(32, 2, 32, 12, 4, VisionActivation.Relu, 1, 2, new[] { 2 })]
    public void Packed_and_plain_LLaVA_towers_agree(
        int hidden, int heads, int inner, int side, int patch, VisionActivation activation, int rows, int columns, int[] layers)
    {
        using var mode = inference_mode();
        using var scope = NewDisposeScope();
        var config = new LlavaOnevisionConfig
        {
            Vision = new SiglipVisionConfig(new SiglipEncoderConfig(hidden, inner, 2, heads, activation, 1e-6), side, patch, 3, UseHead: false),
            OutputSize = 19, FeatureLayers = layers, ProjectorActivation = VisionActivation.Gelu, ProjectorBias = rows % 2 == 1, MaxTiles = 4, ImageTokenId = 5,
        };
        using var weights = new RandomWeights(Shapes(config));
        using var plain = new LlavaOnevisionTower(config, weights);
        using var packed = new LlavaOnevisionTower(config, weights, packed: true);
        var (height, width) = ((rows * side) - 3, columns * side);
        var image = new ImageInput(randn([1 + (rows * columns), 3, side, side], dtype: ScalarType.Float32), rows, columns, height, width);
        using var expected = plain.Encode(image);
        using var actual = packed.Encode(image);
        var plan = AnyResolutionPacking.Plan(config.Vision.PatchesPerSide, config.MaxTiles, rows, columns, height, width);
        Assert.Equal((config.Vision.PatchesPerSide * config.Vision.PatchesPerSide) + plan.Tokens, actual.Tokens);
        Near(expected.States, actual.States, Tolerance);
        using var rounded = new LlavaOnevisionTower(config, weights, ScalarType.BFloat16, packed: true);
        using var near = rounded.Encode(image);
        Near(expected.States, near.States, 0.06); // a dozen products whose inputs are rounded to 2^-9
    }

    [Fact]
    public void A_tile_has_the_same_bits_alone_and_among_others()
    {
        using var mode = inference_mode();
        using var scope = NewDisposeScope();
        var config = new SiglipVisionConfig(new SiglipEncoderConfig(45, 31, 2, 5, VisionActivation.GeluTanh, 1e-6), 21, 7, 3, UseHead: false);
        using var weights = new RandomWeights(Siglip("", config));
        using var model = new SiglipVisionModel(config, weights, packed: true, layers: 2);
        var tiles = randn([5, 3, 21, 21], dtype: ScalarType.Float32);
        var together = model.Encode(tiles);
        for (var i = 0; i < 5; i++)
            Assert.True(model.Encode(tiles.narrow(0, i, 1)).squeeze(0).Equals(together[i]), $"tile {i}");
    }

    private static void Near(Tensor expected, Tensor actual, double tolerance)
    {
        using var scope = NewDisposeScope();
        var (largest, error) = (expected.abs().max().item<float>(), (actual - expected).abs().max().item<float>());
        Assert.True(error < tolerance * largest, $"off by {error} where the largest value is {largest}");
    }

    private static Dictionary<string, long[]> Shapes(QwenVisionConfig config)
    {
        long hidden = config.HiddenSize, inner = config.IntermediateSize, merged = hidden * config.SpatialMergeSize * config.SpatialMergeSize;
        var shapes = new Dictionary<string, long[]>(StringComparer.Ordinal)
        {
            ["patch_embed.proj.weight"] = [hidden, config.Channels, config.TemporalPatchSize, config.PatchSize, config.PatchSize],
            ["merger.ln_q.weight"] = [hidden],
        };
        Linear(shapes, "merger.mlp.0", merged, merged);
        Linear(shapes, "merger.mlp.2", config.OutputSize, merged);
        for (var i = 0; i < config.Depth; i++)
        {
            Linear(shapes, $"blocks.{i}.attn.qkv", 3 * hidden, hidden);
            Linear(shapes, $"blocks.{i}.attn.proj", hidden, hidden);
            Linear(shapes, $"blocks.{i}.mlp.gate_proj", inner, hidden);
            Linear(shapes, $"blocks.{i}.mlp.up_proj", inner, hidden);
            Linear(shapes, $"blocks.{i}.mlp.down_proj", hidden, inner);
            shapes[$"blocks.{i}.norm1.weight"] = shapes[$"blocks.{i}.norm2.weight"] = [hidden];
        }

        return shapes;
    }

    private static Dictionary<string, long[]> Shapes(LlavaOnevisionConfig config)
    {
        var shapes = Siglip("vision_tower.vision_model.", config.Vision);
        Linear(shapes, "multi_modal_projector.linear_1", config.OutputSize, config.Vision.Encoder.HiddenSize * config.FeatureLayers.Count);
        Linear(shapes, "multi_modal_projector.linear_2", config.OutputSize, config.OutputSize);
        shapes["image_newline"] = [config.OutputSize];
        return shapes;
    }

    private static Dictionary<string, long[]> Siglip(string prefix, SiglipVisionConfig config)
    {
        long hidden = config.Encoder.HiddenSize, inner = config.Encoder.IntermediateSize;
        var shapes = new Dictionary<string, long[]>(StringComparer.Ordinal)
        {
            [$"{prefix}embeddings.patch_embedding.weight"] = [hidden, 3, config.PatchSize, config.PatchSize],
            [$"{prefix}embeddings.patch_embedding.bias"] = [hidden],
            [$"{prefix}embeddings.position_embedding.weight"] = [(long)config.PatchesPerSide * config.PatchesPerSide, hidden],
        };
        for (var i = 0; i < config.Encoder.NumHiddenLayers; i++)
        {
            var layer = $"{prefix}encoder.layers.{i}.";
            foreach (var name in new[] { "q_proj", "k_proj", "v_proj", "out_proj" })
                Linear(shapes, $"{layer}self_attn.{name}", hidden, hidden);
            Linear(shapes, $"{layer}mlp.fc1", inner, hidden);
            Linear(shapes, $"{layer}mlp.fc2", hidden, inner);
            foreach (var norm in new[] { "layer_norm1", "layer_norm2" })
                shapes[$"{layer}{norm}.weight"] = shapes[$"{layer}{norm}.bias"] = [hidden];
        }

        return shapes;
    }

    private static void Linear(Dictionary<string, long[]> shapes, string name, long outputs, long inputs)
    {
        shapes[$"{name}.weight"] = [outputs, inputs];
        shapes[$"{name}.bias"] = [outputs];
    }
}
