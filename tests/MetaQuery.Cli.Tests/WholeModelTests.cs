using System.Text.RegularExpressions;
using MetaQuery.TestKit;

namespace MetaQuery.Cli.Tests;

/// <summary>A whole model of either family, made, inspected, asked and drawn with by command, in processes of their own.</summary>
public sealed partial class WholeModelTests
{
    [Theory]
    [InlineData("tiny", "Qwen2_5_VLForConditionalGeneration")]
    [InlineData("tiny-llava", "LlavaOnevisionForConditionalGeneration")]
    public void A_family_member_is_made_inspected_asked_and_draws_from_texts_and_pictures(string family, string languageModel)
    {
        using var folder = new TemporaryFolder();
        var model = folder["model"];
        CliProcess.Run("models", "random", model, "--family", family, "--dtype", "float32").Succeeded();
        var inspected = CliProcess.Run("models", "inspect", model).Succeeded().Output;
        Assert.Contains("it is a MetaQuery", inspected, StringComparison.Ordinal);
        Assert.Contains($"language model ({languageModel}) in mllm/model.safetensors", inspected, StringComparison.Ordinal);
        Assert.Contains("transformer (SanaTransformer2DModel)", inspected, StringComparison.Ordinal);

        File.Copy(TinyMetaQuery.Picture("00_rgb_61x43.png"), folder["a.png"]);
        File.Copy(TinyMetaQuery.Picture("06_jpegexif_48x30.jpg"), folder["b.jpg"]);
        string[] settings = ["--model", model, "--dtype", "float32", "--steps", "2", "--seed", "5"];
        CliProcess.Run(["generate", "make it red", "--image", folder["a.png"], "--out", folder["one"], .. settings]).Succeeded();
        Assert.Single(Directory.GetFiles(folder["one"], "*.png"), path => !path.Contains("-contact", StringComparison.Ordinal));

        // text alone; unguided; one picture, guided in three branches and in two; the picture made again; several; the same twice
        var prompts = folder.Write(
            "prompts.jsonl",
            """
            {"prompt":"a dog"}
            {"prompt":"a dog","guidance":1}
            {"prompt":"make it red","images":["a.png"]}
            {"prompt":"make it red","images":["a.png"],"image_guidance":1}
            {"images":["b.jpg"]}
            {"prompt":"both","images":["b.jpg","a.png"],"image_guidance":2.5}
            {"prompt":"both","images":["a.png","b.jpg"],"image_guidance":2.5}

            """);
        var run = CliProcess.Run(["job", "run", prompts, "--out", folder["out"], "-n", "2", .. settings]).Succeeded();
        Assert.Contains("14 images in", run.Output, StringComparison.Ordinal);
        Assert.Equal(14, PictureHashes().Matches(System.Text.Encoding.Latin1.GetString(File.ReadAllBytes(folder["out/00000.tar"]))).Select(match => match.Value).Distinct(StringComparer.Ordinal).Count());

        string Ask(params string[] images) => CliProcess.Run(
            ["chat", "What is this?", "--model", model, "--dtype", "float32", "--max-tokens", "12", "--temperature", "1", .. images.SelectMany(image => (string[])["--image", image])]).Succeeded().Output;
        Assert.NotEqual(Ask(), Ask(folder["a.png"], folder["b.jpg"]));
    }

    // Of a sample's JSON: the picture's.
    [GeneratedRegex("\"sha256\":\\s?\"[0-9a-f]{64}\"", RegexOptions.None, matchTimeoutMilliseconds: 10_000)]
    private static partial Regex PictureHashes();
}
