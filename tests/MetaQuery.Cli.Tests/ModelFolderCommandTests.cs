using System.Text.Json;
using MetaQuery.TestKit;

namespace MetaQuery.Cli.Tests;

/// <summary>What the command line tells of a model folder, and what it asks a model with eyes.</summary>
public sealed class ModelFolderCommandTests
{
    [Fact]
    public void Inspecting_the_default_model_shows_its_parts_and_that_nothing_is_missing()
    {
        var text = CliProcess.Run("models", "inspect", "nano").Succeeded();
        Assert.Contains("it is a MetaQuery", text.Output, StringComparison.Ordinal);
        Assert.Contains("transformer (SanaTransformer2DModel) in transformer/diffusion_pytorch_model.safetensors", text.Output, StringComparison.Ordinal);
        Assert.Contains("model.layers.*.self_attn.q_proj.weight [576, 576] Q4_1, 30 times", text.Output, StringComparison.Ordinal);
        using var json = JsonDocument.Parse(CliProcess.Run("models", "inspect", RepositoryFolders.NanoModel, "--json").Succeeded().Output);
        Assert.True(json.RootElement.GetProperty("is_metaquery").GetBoolean());
        JsonElement connector = json.RootElement.GetProperty("parts").EnumerateArray().Single(part => part.GetProperty("name").GetString() == "connector");
        JsonElement tensor = connector.GetProperty("tensors").EnumerateArray().Single(tensor => tensor.GetProperty("name").GetString() == "model.connector.4.weight");
        Assert.Equal(("BF16", 320, 640L), (tensor.GetProperty("dtype").GetString(), tensor.GetProperty("shape")[0].GetInt32(), tensor.GetProperty("bytes").GetInt64()));
        Assert.Equal(0, connector.GetProperty("missing").GetArrayLength() + connector.GetProperty("unexpected").GetArrayLength() + connector.GetProperty("misshapen").GetArrayLength());
    }

    [Fact]
    public void Inspecting_what_is_no_MetaQuery_lists_what_it_lacks_and_ends_with_5()
    {
        var result = CliProcess.Run("models", "inspect", Path.Combine(RepositoryFolders.NanoModel, "transformer"));
        Assert.Equal(5, result.ExitCode);
        Assert.Contains("what it lacks to be a MetaQuery:", result.Output, StringComparison.Ordinal);
        Assert.Contains("vae/config.json is missing", result.Output, StringComparison.Ordinal);
        Assert.Contains("nowhere", CliProcess.Run("models", "inspect", "nowhere").OneLineError(2), StringComparison.Ordinal);
    }

    [Fact]
    public void Chat_takes_pictures_where_the_model_reads_them()
    {
        using var folder = new TemporaryFolder();
        string source = Path.Combine(RepositoryFolders.VisibleFixtures, "mllm", "metaquery-condition-qwenvl");
        foreach ((string from, string to) in new[] { ("checkpoint", "m"), ("mllm", "m/mllm") })
        {
            Directory.CreateDirectory(folder[to]);
            foreach (string file in Directory.GetFiles(Path.Combine(source, from)))
            {
                File.Copy(file, Path.Combine(folder[to], Path.GetFileName(file)));
            }
        }

        foreach (string part in new[] { "m/transformer/config.json", "m/vae/config.json", "m/scheduler/scheduler_config.json" })
        {
            Directory.CreateDirectory(Path.GetDirectoryName(folder[part])!);
            folder.Write(part, "{}");
        }

        string first = Path.Combine(source, "images", "61_80x60.png"), second = Path.Combine(source, "images", "62_50x90.png");
        string Ask(params string[] images) => CliProcess.Run(["chat", "What is this?", "--model", folder["m"], "--max-tokens", "6", .. images.SelectMany(image => (string[])["--image", image])]).Succeeded().Output;
        Assert.Equal(Ask(first), Ask(first));
        Assert.NotEqual(Ask(), Ask(first, second)); // random weights, but not the same question
        Assert.Contains("nano: its language model reads no pictures", CliProcess.Run("chat", "What is this?", "--image", first).OneLineError(5), StringComparison.Ordinal);
    }

    [Fact]
    public void A_picture_that_cannot_be_read_is_told_before_a_model_is_loaded()
    {
        using var folder = new TemporaryFolder();
        Assert.Contains("nosuch.png: cannot be read", CliProcess.Run("chat", "x", "--image", folder["nosuch.png"]).OneLineError(2), StringComparison.Ordinal);
        Assert.Contains("words.png: ", CliProcess.Run("chat", "x", "--image", folder.Write("words.png", "these are words")).OneLineError(2), StringComparison.Ordinal);
        byte[] torn = File.ReadAllBytes(Path.Combine(RepositoryFolders.VisibleFixtures, "mllm", "metaquery-condition-qwenvl", "images", "61_80x60.png"));
        Assert.NotEqual(0, CliProcess.Run("chat", "x", "--image", folder.Write("torn.png", torn[..^30])).ExitCode);
    }
}
