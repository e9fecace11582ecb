using MetaQuery.Models.Checkpoints;
using MetaQuery.Models.Mllm;
using MetaQuery.Models.Vision;
using MetaQuery.TestKit;

namespace MetaQuery.Models.Tests.Vision;

[LeakCheck]
public sealed class VisionConfigTests
{
    [Fact]
    public void What_Qwens_vision_config_leaves_out_takes_the_librarys_defaults()
    {
        var config = QwenVisionConfig.Read(Parse("""{"vision_config": {"in_chans": 3, "spatial_patch_size": 14}}"""));
        Assert.True(config is { Depth: 32, HiddenSize: 3584, IntermediateSize: 3420, NumHeads: 16, PatchSize: 14, SpatialMergeSize: 2, TemporalPatchSize: 2, WindowSize: 112, OutputSize: 3584 });
        Assert.Equal([7, 15, 23, 31], config.FullAttentionBlocks);
        Assert.Equal(4, config.WindowTokens);
    }

    [Fact]
    public void Qwens_decoys_are_not_read()
    {
        // transformers reads in_channels and patch_size, though the published files state these two beside or instead of them.
        var config = QwenVisionConfig.Read(Parse("""{"vision_config": {"in_chans": 5, "spatial_patch_size": 7}}"""));
        Assert.Equal((3, 14), (config.Channels, config.PatchSize));
    }

    [Fact]
    public void Feature_layers_are_counted_from_the_embeddings_or_from_the_end()
    {
        LlavaOnevisionConfig Read(string layer) => LlavaOnevisionConfig.Read(Parse(
            $$"""{"vision_feature_layer": {{layer}}, "text_config": {"hidden_size": 8}, "vision_config": {"num_hidden_layers": 5, "image_size": 56, "patch_size": 14} }"""));
        Assert.Equal([5], Read("-1").FeatureLayers);
        Assert.Equal([4], Read("-2").FeatureLayers);
        Assert.Equal([0, 5, 3], Read("[0, -1, 3]").FeatureLayers);
        Assert.Contains("5 layers", Assert.Throws<CheckpointException>(() => Read("6")).Message, StringComparison.Ordinal);
        Assert.Equal((768, 4), (Read("1").Vision.Encoder.HiddenSize, Read("1").Vision.PatchesPerSide));
    }

    [Theory]
    [InlineData("""{"vision_feature_select_strategy": "default", "text_config": {}, "vision_config": {}}""", "vision_feature_select_strategy")]
    [InlineData("""{"vision_aspect_ratio": "anyres", "text_config": {}, "vision_config": {}}""", "anyres_max_N")]
    [InlineData("""{"projector_hidden_act": "mish", "text_config": {}, "vision_config": {}}""", "mish")]
    [InlineData("""{"text_config": {}, "vision_config": {"model_type": "clip_vision_model"}}""", "clip_vision_model")]
    [InlineData("""{"text_config": {}, "vision_config": {"num_attention_heads": 5}}""", "does not divide")]
    [InlineData("""{"text_config": {}, "vision_config": {"patch_size": 500}}""", "patch_size")]
    [InlineData("""{"text_config": {}}""", "vision_config")]
    public void What_is_not_built_of_LLaVA_is_refused_by_name(string json, string reason) =>
        Assert.Contains(reason, Assert.Throws<CheckpointException>(() => LlavaOnevisionConfig.Read(Parse(json))).Message, StringComparison.Ordinal);

    [Theory]
    [InlineData("""{"hidden_act": "gelu"}""", "only silu")]
    [InlineData("""{"num_heads": 9}""", "num_heads")]
    [InlineData("""{"window_size": 27}""", "window_size")]
    [InlineData("""{"in_channels": 1}""", "in_channels")]
    [InlineData("""{"depth": 0}""", "depth")]
    public void What_is_not_built_of_Qwen_is_refused_by_name(string vision, string reason) =>
        Assert.Contains(reason, Assert.Throws<CheckpointException>(() => QwenVisionConfig.Read(Parse($$"""{"vision_config": {{vision}} }"""))).Message, StringComparison.Ordinal);

    [Theory]
    [InlineData("[2, 3]")]
    [InlineData("[2, 3, 4]")]
    [InlineData("[9, -4, 3]")]
    public void Rotary_sections_are_three_that_fill_half_a_head(string sections)
    {
        var json = $$"""
            {"model_type": "qwen2_5_vl", "vocab_size": 9, "hidden_size": 64, "intermediate_size": 9, "num_hidden_layers": 1, "num_attention_heads": 4,
             "rope_scaling": {"type": "mrope", "mrope_section": {{sections}} } }
            """;
        Assert.Contains("mrope_section", Assert.Throws<CheckpointException>(() => DecoderConfig.FromTransformers(Parse(json))).Message, StringComparison.Ordinal);
    }

    private static ConfigFile Parse(string json) => ConfigFile.Parse("config.json", json);
}
