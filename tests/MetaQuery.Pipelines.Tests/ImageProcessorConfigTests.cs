using MetaQuery.Imaging;
using MetaQuery.Models.Checkpoints;
using MetaQuery.Models.Vision;
using MetaQuery.Pipelines.Vision;
using MetaQuery.TestKit;

namespace MetaQuery.Pipelines.Tests;

[LeakCheck]
public sealed class ImageProcessorConfigTests
{
    [Fact]
    public void An_empty_file_takes_the_librarys_defaults()
    {
        var qwen = ImageProcessors.ReadQwen(Parse("{}"));
        Assert.Equal((3136L, 1003520L, 14, 2, 2, ResampleFilter.Bicubic), (qwen.MinPixels, qwen.MaxPixels, qwen.PatchSize, qwen.MergeSize, qwen.TemporalPatchSize, qwen.Filter));
        var llava = ImageProcessors.ReadLlavaOnevision(Parse("{}"));
        Assert.Equal((384, 36), (llava.SidePixels, llava.Pinpoints.Count));
        Assert.Equal((2304, 384), llava.Pinpoints[30]);
        var siglip = ImageProcessors.ReadSiglip(Parse("{}"));
        Assert.Equal((224, 224), (siglip.HeightPixels, siglip.WidthPixels));
    }

    [Fact]
    public void Limits_may_be_stated_as_a_size()
    {
        var qwen = ImageProcessors.ReadQwen(Parse("""{"size": {"shortest_edge": 12, "longest_edge": 3400}, "min_pixels": null}"""));
        Assert.Equal((12L, 3400L), (qwen.MinPixels, qwen.MaxPixels));
    }

    [Fact]
    public void What_is_not_rescaled_or_normalised_stays_a_sample()
    {
        var scaling = ImageProcessors.ReadSiglip(Parse("""{"do_rescale": false, "do_normalize": false, "size": {"height": 2, "width": 3}}""")).Scaling;
        Assert.Equal([0f, 1, 2], scaling.Table(0)[..3]);
        var rescaled = ImageProcessors.ReadSiglip(Parse("""{"rescale_factor": 0.5, "image_mean": [1, 2, 3], "image_std": [2, 2, 2]}""")).Scaling;
        Assert.Equal([-1f, -0.75f, -0.5f], rescaled.Table(1)[..3]);
    }

    [Theory]
    [InlineData("""{"image_grid_pinpoints": [[384, 500]]}""", "image_grid_pinpoints")]
    [InlineData("""{"image_grid_pinpoints": [[384, 384, 384]]}""", "image_grid_pinpoints")]
    [InlineData("""{"image_grid_pinpoints": []}""", "image_grid_pinpoints")]
    [InlineData("""{"size": {"height": 384, "width": 300}}""", "size")]
    [InlineData("""{"do_resize": false}""", "do_resize")]
    [InlineData("""{"resample": 0}""", "resample")]
    [InlineData("""{"image_std": [1, 0, 1]}""", "image_std")]
    [InlineData("""{"image_mean": [1, 1]}""", "image_mean")]
    public void What_is_not_supported_is_refused_with_the_field(string json, string field) =>
        Assert.Contains(field, Assert.Throws<CheckpointException>(() => ImageProcessors.ReadLlavaOnevision(Parse(json))).Message, StringComparison.Ordinal);

    [Fact]
    public void MetaQuery_reads_pictures_at_the_references_own_limits()
    {
        var folder = Path.Combine(RepositoryFolders.VisibleFixtures, "mllm", "metaquery-condition-qwenvl", "mllm");
        var qwen = Assert.IsType<QwenImageProcessor>(ImageProcessors.Read(MllmKind.Qwen25Vl, folder, forConditions: true));
        Assert.Equal((256L * 28 * 28, 1280L * 28 * 28), (qwen.MinPixels, qwen.MaxPixels));
        Assert.Equal(12845056, Assert.IsType<QwenImageProcessor>(ImageProcessors.Read(MllmKind.Qwen25Vl, folder, forConditions: false)).MaxPixels);
        Assert.Throws<CheckpointException>(() => ImageProcessors.Read(MllmKind.Text, folder, forConditions: true));
    }

    private static ConfigFile Parse(string json) => ConfigFile.Parse("preprocessor_config.json", json);
}
