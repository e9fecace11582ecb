using MetaQuery.Models.Checkpoints;
using MetaQuery.TestKit;

namespace MetaQuery.Pipelines.Tests;

[LeakCheck]
public sealed class ModelFolderTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("metaquery-model-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public void The_default_model_opens_with_its_parts_and_defaults()
    {
        var nano = MetaQueryModelFolder.Open(RepositoryFolders.NanoModel);
        Assert.True(nano.IsGguf);
        Assert.Equal(16, nano.Config.NumMetaqueries);
        Assert.Equal(20, nano.Config.DefaultNumInferenceSteps);
        Assert.Equal(4.5, nano.Config.DefaultGuidanceScale);
        Assert.Contains(nano.Files, file => file.Path == "transformer/diffusion_pytorch_model.safetensors" && file.Sha256.Length == 64);
        Assert.Equal(3, new[] { nano.Revision, nano.ConditionRevision, nano.ImageRevision }.Distinct(StringComparer.Ordinal).Count());
    }

    [Fact]
    public void A_changed_byte_changes_the_revision_of_its_half_alone()
    {
        WriteModel();
        var before = MetaQueryModelFolder.Open(_folder);
        Assert.Equal(before.Revision, MetaQueryModelFolder.Open(_folder).Revision);
        var (whole, condition, image) = (before.Revision, before.ConditionRevision, before.ImageRevision);
        File.WriteAllText(Path.Combine(_folder, "vae", "diffusion_pytorch_model.safetensors"), "other");
        var after = MetaQueryModelFolder.Open(_folder);
        Assert.NotEqual(whole, after.Revision);
        Assert.NotEqual(image, after.ImageRevision);
        Assert.Equal(condition, after.ConditionRevision);
    }

    [Fact]
    public void Files_that_shape_nothing_do_not_count()
    {
        WriteModel();
        var before = MetaQueryModelFolder.Open(_folder).Revision;
        File.WriteAllText(Path.Combine(_folder, "README.md"), "words");
        Assert.Equal(before, MetaQueryModelFolder.Open(_folder).Revision);
    }

    [Fact]
    public void A_missing_folder_is_named() => Refused("there is no such model folder", Path.Combine(_folder, "absent"));

    [Theory]
    [InlineData("metaquery.safetensors", "metaquery.safetensors")]
    [InlineData("mllm.gguf", "neither a GGUF file nor a folder")]
    [InlineData("vae/config.json", "vae/config.json is missing")]
    [InlineData("config.json", "config.json")]
    public void A_missing_part_is_named(string part, string reason)
    {
        WriteModel();
        File.Delete(Path.Combine(_folder, part));
        Refused(reason, _folder);
    }

    [Theory]
    [InlineData("""{"mllm": "mllm.gguf"}""", "num_metaqueries")]
    [InlineData("""{"mllm": "mllm.gguf", "num_metaqueries": -1}""", "num_metaqueries")]
    [InlineData("""{"mllm": "mllm.gguf", "num_metaqueries": 4, "queries": "none"}""", "learned or random")]
    [InlineData("""{"mllm": "mllm.gguf", "num_metaqueries": 4, "connector_type": "proj"}""", "enc-proj or proj-enc")]
    [InlineData("""{"mllm": "mllm.gguf", "num_metaqueries": "many"}""", "num_metaqueries")]
    [InlineData("""{"mllm": 3, "num_metaqueries": 4}""", "mllm")]
    [InlineData("""{"model_type": "llama", "num_metaqueries": 4}""", "model_type")]
    [InlineData("""{"mllm": "mllm.gguf", "num_metaqueries": 4, "condition_channels": -1}""", "condition_channels")]
    [InlineData("[]", "JSON object")]
    [InlineData("{", "config.json")]
    public void A_malformed_configuration_is_refused_with_the_field(string json, string reason)
    {
        WriteModel();
        File.WriteAllText(Path.Combine(_folder, "config.json"), json);
        Refused(reason, _folder);
    }

    private static void Refused(string reason, string folder)
    {
        var error = Assert.Throws<CheckpointException>(() => MetaQueryModelFolder.Open(folder));
        Assert.Contains(reason, error.Message, StringComparison.Ordinal);
        Assert.DoesNotContain('\n', error.Message);
    }

    private void WriteModel()
    {
        foreach (var (path, text) in new[]
        {
            ("config.json", """{"model_type": "metaquery", "mllm": "mllm.gguf", "num_metaqueries": 4}"""), ("mllm.gguf", "GGUF"), ("metaquery.safetensors", "\u0002\0\0\0\0\0\0\0{}"),
            ("transformer/config.json", "{}"), ("vae/config.json", "{}"), ("vae/diffusion_pytorch_model.safetensors", "w"), ("scheduler/scheduler_config.json", "{}"),
        })
        {
            var full = Path.Combine(_folder, path);
            Directory.CreateDirectory(Path.GetDirectoryName(full)!);
            File.WriteAllText(full, text);
        }
    }
}
