using System.Text.Json.Nodes;
using MetaQuery.Imaging;
using MetaQuery.TestKit;

namespace MetaQuery.Pipelines.Tests;

/// <summary>
/// A whole MetaQuery-SD folder in the reference's layout, out of golden cases' parts: Qwen2.5-VL's files, the one state dictionary with language
/// model, queries and connector (48 channels), a UNet that reads 48, an AutoencoderKL, and the PNDM scheduler file of SD 1.5.
/// </summary>
[LeakCheck]
public sealed class StableDiffusionFolderTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("metaquery-sd-whole-").FullName;

    public StableDiffusionFolderTests()
    {
        var text = Path.Combine(RepositoryFolders.VisibleFixtures, "mllm", "metaquery-condition-qwenvl");
        var diffusion = Path.Combine(RepositoryFolders.VisibleFixtures, "diffusion");
        Copy(Path.Combine(text, "mllm"), "mllm");
        Copy(Path.Combine(diffusion, "unet2d-condition", "sd15"), "unet");
        Copy(Path.Combine(diffusion, "autoencoder-kl", "sd15"), "vae");
        Copy(Path.Combine(diffusion, "schedulers", "dpm-sd15"), "scheduler");
        File.Copy(Path.Combine(text, "checkpoint", "model.safetensors"), Path.Combine(_folder, "model.safetensors"));
        var config = JsonNode.Parse(File.ReadAllText(Path.Combine(text, "checkpoint", "config.json")))!.AsObject();
        config["mllm"] = "mllm";
        config["input_size"] = 6;
        config["vae_downsample_f"] = 4;
        config["loss_type"] = "diff";
        File.WriteAllText(Path.Combine(_folder, "config.json"), config.ToJsonString());
    }

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public void Prompts_become_pictures_that_depend_on_prompt_and_seed_alone()
    {
        var folder = MetaQueryModelFolder.Open(_folder);
        using var text = TextModel.Load(folder);
        using var encoder = new ConditionEncoder(text.Model, text.Prompt);
        using var model = ImageModel.Load(folder);
        using var denoiser = new ImageDenoiser(model);
        Assert.Equal(24, model.DefaultSizePixels);
        Assert.Equal(8 * model.ConditionChannels * sizeof(ushort), encoder.ConditionBytes);

        var conditions = encoder.Encode(["", "a red apple", "a bicycle by the sea"]);
        ImageRow Row(int prompt, ulong seed) => new(conditions[prompt], conditions[0], GuidanceScale: 3, seed);
        IReadOnlyList<RgbImage> Denoise(params ImageRow[] rows) => denoiser.Denoise(new ImageBatch(24, 24, 3, 4, rows));

        var together = Denoise(Row(1, 5), Row(2, 5), Row(1, 6));
        var apple = encoder.Encode(["a red apple"])[0];
        Assert.Equal(conditions[1], apple);
        Assert.Equal(together[0].Pixels, Denoise(new ImageRow(apple, conditions[0], 3, 5))[0].Pixels);
        Assert.Equal(together[2].Pixels, Denoise(Row(2, 9), Row(1, 6))[1].Pixels);
        Assert.Equal(3, together.Select(image => Convert.ToHexString(image.Pixels)).Distinct(StringComparer.Ordinal).Count());
    }

    private void Copy(string source, string part)
    {
        var target = Directory.CreateDirectory(Path.Combine(_folder, part)).FullName;
        foreach (var file in Directory.GetFiles(source))
        {
            File.Copy(file, Path.Combine(target, Path.GetFileName(file)));
        }
    }
}
