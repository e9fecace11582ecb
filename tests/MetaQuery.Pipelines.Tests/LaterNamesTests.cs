using MetaQuery.Imaging;
using MetaQuery.Models.Checkpoints;
using MetaQuery.Pipelines.RandomModels;
using MetaQuery.TestKit;
using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Pipelines.Tests;

/// <summary>Both families' language models with Sana, in parts and as the reference's one state dictionary, under the names of transformers up to 4.51 and of
/// later ones: the same conditions, pictures and answers.</summary>
[LeakCheck]
public sealed class LaterNamesTests : IDisposable
{
    private const string Backbone = "model.mllm_backbone.";

    private readonly string _work = Directory.CreateTempSubdirectory("metaquery-names-").FullName;

    public void Dispose() => Directory.Delete(_work, recursive: true);

    [Theory]
    [InlineData("tiny")]
    [InlineData("tiny-llava")]
    public void Every_layout_and_naming_gives_the_same_bytes(string family)
    {
        var parts = Random("parts", family);
        var expected = Make(parts);

        var later = Random("later", family);
        Replace(Path.Combine(later, "mllm"), (source, name) => CheckpointWriter.All(source, "", ScalarType.BFloat16).Select(entry => entry with { Key = Later(name(entry.Key)) }));
        Assert.Equal(expected, Make(later));
        AssertWhole(later);

        foreach (var isLater in new[] { false, true })
        {
            var whole = Random($"whole-{isLater}", family);
            Combine(whole, isLater);
            Assert.Equal(expected, Make(whole));
            AssertWhole(whole);
        }
    }

    [Fact]
    public void A_missing_tensor_is_named_as_the_file_names_its_neighbours()
    {
        var later = Random("cut", "tiny");
        Replace(Path.Combine(later, "mllm"), (source, name) => CheckpointWriter.All(source, "", ScalarType.BFloat16)
            .Where(entry => !entry.Key.EndsWith("layers.1.mlp.up_proj.weight", StringComparison.Ordinal)).Select(entry => entry with { Key = Later(name(entry.Key)) }));
        var error = Assert.Throws<CheckpointException>(() => TextModel.Load(MetaQueryModelFolder.Open(later)));
        Assert.Contains("model.language_model.layers.1.mlp.up_proj.weight", error.Message, StringComparison.Ordinal);
    }

    // transformers 4.52 on: _checkpoint_conversion_mapping of Qwen2_5_VLForConditionalGeneration and LlavaOnevisionForConditionalGeneration
    private static string Later(string key) => key.Split('.') switch
    {
        ["visual", ..] or ["vision_tower", ..] or ["multi_modal_projector", ..] or ["image_newline"] => "model." + key,
        ["language_model", "model", .. var rest] => "model.language_model." + string.Join('.', rest),
        ["language_model", "lm_head", .. var rest] => "lm_head." + string.Join('.', rest),
        ["model", .. var rest] => "model.language_model." + string.Join('.', rest),
        _ => key,
    };

    private string Random(string name, string family)
    {
        var folder = Path.Combine(_work, name);
        RandomModelFolder.Write(folder, family);
        return folder;
    }

    private static void Replace(string folder, Func<WeightSource, Func<string, string>, IEnumerable<CheckpointWriter.Entry>> entries)
    {
        using (var source = SafetensorsFile.Open(Path.Combine(folder, "model.safetensors")))
            CheckpointWriter.Write(Path.Combine(folder, "new"), entries(source, static key => key));
        File.Move(Path.Combine(folder, "new"), Path.Combine(folder, "model.safetensors"), overwrite: true);
    }

    /// <summary>All parts' weights into model.safetensors, the table grown by the queries' rows.</summary>
    private static void Combine(string folder, bool isLater)
    {
        string[] files = ["mllm/model.safetensors", "model.safetensors", "transformer/diffusion_pytorch_model.safetensors", "vae/diffusion_pytorch_model.safetensors"];
        var sources = files.Select(file => SafetensorsFile.Open(Path.Combine(folder, file))).ToArray();
        try
        {
            var (mllm, own) = (sources[0], sources[1]);
            var rows = own.Keys.Single(key => key.EndsWith("new_rows", StringComparison.Ordinal));
            var table = mllm.Keys.Single(key => key.EndsWith("embed_tokens.weight", StringComparison.Ordinal));
            using var grown = new ChangedWeights(
                mllm, key => key == table, tensor =>
                {
                    using var more = own.Load(rows, tensor.dtype); // another file's rows behind its own
                    return cat([tensor, more], 0);
                });
            CheckpointWriter.Write(Path.Combine(folder, "new"),
            [
                .. CheckpointWriter.All(grown, "", ScalarType.BFloat16).Select(entry => entry with { Key = Backbone + (isLater ? Later(entry.Key) : entry.Key) }),
                .. CheckpointWriter.All(own, "", ScalarType.BFloat16).Where(entry => entry.Key != rows),
                .. CheckpointWriter.All(sources[2], "model.transformer.", ScalarType.BFloat16),
                .. CheckpointWriter.All(sources[3], "vae.", ScalarType.BFloat16),
            ]);
        }
        finally
        {
            Array.ForEach(sources, source => source.Dispose());
        }

        Array.ForEach(files, file => File.Delete(Path.Combine(folder, file)));
        File.Move(Path.Combine(folder, "new"), Path.Combine(folder, "model.safetensors"));
    }

    private static void AssertWhole(string folder)
    {
        var inspection = ModelInspection.Of(folder);
        Assert.Empty(inspection.Lacks);
        Assert.All(inspection.Parts, part => Assert.Empty(part.Missing.Concat(part.Unexpected)));
    }

    private static (string Condition, string Picture, string Answer) Make(string path)
    {
        var folder = MetaQueryModelFolder.Open(path);
        using var text = TextModel.Load(folder);
        using var encoder = new ConditionEncoder(text.Model, text.Prompt);
        var image = ImageConditionTests.Picture(61, 43, 1);
        var branches = encoder.Encode(new ConditionPrompt("make it red", [image]).GuidanceBranches());
        using var model = ImageModel.Load(folder);
        using var denoiser = new ImageDenoiser(model);
        var side = model.DefaultSizePixels;
        RgbImage made = denoiser.Denoise(new ImageBatch(side, side, 2, 1, [new ImageRow(branches[2], branches[0], 3, 5) { ImageCondition = branches[1], ImageGuidanceScale = 1.5f }]) { ThreeBranches = true })[0];
        Assert.True(text.Chat.CanAnswer);
        using var session = text.Chat.NewSession(new ChatOptions(MaxNewTokens: 4), withImages: true);
        var answer = string.Concat(session.Ask("What is this?", [image]));
        Assert.NotEmpty(answer);
        return (Convert.ToHexString(branches[2]), Convert.ToHexString(made.Pixels), answer);
    }
}
