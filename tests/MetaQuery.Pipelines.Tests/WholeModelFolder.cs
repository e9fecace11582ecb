using System.Text.Json.Nodes;
using MetaQuery.Models.Checkpoints;
using MetaQuery.TestKit;
using TorchSharp;

namespace MetaQuery.Pipelines.Tests;

/// <summary>A whole MetaQuery-SD out of golden cases' parts, in one of the layouts in which a team may have it: Qwen2.5-VL's files, language model, queries and
/// connector (48 channels), a UNet that reads 48, an AutoencoderKL.</summary>
internal sealed class WholeModelFolder : IDisposable
{
    private const string Download = "Sana-tiny"; // as the golden case's config.json names it

    public WholeModelFolder() => Path = Directory.CreateTempSubdirectory("metaquery-whole-").FullName;

    public string Path { get; }

    private static string Text => System.IO.Path.Combine(RepositoryFolders.VisibleFixtures, "mllm", "metaquery-condition-qwenvl");

    private static string Diffusion => System.IO.Path.Combine(RepositoryFolders.VisibleFixtures, "diffusion");

    /// <summary>Each part's weights in its own folder; the language model's, the queries and the connector in model.safetensors.</summary>
    public WholeModelFolder Parts(bool withWeights = true)
    {
        Copy(System.IO.Path.Combine(Text, "mllm"), "mllm");
        Copy(System.IO.Path.Combine(Diffusion, "unet2d-condition", "sd15"), "unet", withWeights);
        Copy(System.IO.Path.Combine(Diffusion, "autoencoder-kl", "sd15"), "vae", withWeights);
        Copy(System.IO.Path.Combine(Diffusion, "schedulers", "dpm-sd15"), "scheduler");
        Configure();
        if (withWeights)
            File.Copy(System.IO.Path.Combine(Text, "checkpoint", "model.safetensors"), System.IO.Path.Combine(Path, "model.safetensors"));
        return this;
    }

    /// <summary>As two downloads, untouched, beside the reference's config.json and checkpoint: no folder has a part's name.</summary>
    public WholeModelFolder Downloads()
    {
        Parts(withWeights: false);
        Directory.CreateDirectory(System.IO.Path.Combine(Path, Download));
        foreach (var part in new[] { "unet", "vae", "scheduler" })
            Directory.Move(System.IO.Path.Combine(Path, part), System.IO.Path.Combine(Path, Download, part));
        Directory.Move(System.IO.Path.Combine(Path, "mllm"), System.IO.Path.Combine(Path, "Qwen2.5-VL-tiny"));
        Configure(config => config.Remove("mllm"));
        return this;
    }

    /// <summary>The reference's one state dictionary.</summary>
    public WholeModelFolder StateDictionary(int shards = 1, torch.ScalarType dtype = torch.ScalarType.Float32, Func<string, bool>? keep = null)
    {
        using var text = SafetensorsFile.Open(System.IO.Path.Combine(Text, "checkpoint", "model.safetensors"));
        using var unet = HuggingFaceFolder.Open(System.IO.Path.Combine(Diffusion, "unet2d-condition", "sd15")).OpenWeights();
        using var vae = HuggingFaceFolder.Open(System.IO.Path.Combine(Diffusion, "autoencoder-kl", "sd15")).OpenWeights();
        CheckpointWriter.Entry[] all =
        [
            .. CheckpointWriter.All(text, "", dtype), .. CheckpointWriter.All(unet, "model.transformer.", dtype), .. CheckpointWriter.All(vae, "vae.", dtype),
        ];
        all = [.. all.Where(entry => keep?.Invoke(entry.Key) ?? true)];
        if (shards == 1)
            CheckpointWriter.Write(System.IO.Path.Combine(Path, "model.safetensors"), all);
        else
            CheckpointWriter.WriteShards(Path, all, shards);
        return this;
    }

    public void Configure(Action<JsonObject>? change = null)
    {
        var path = System.IO.Path.Combine(Path, "config.json");
        var config = JsonNode.Parse(File.ReadAllText(File.Exists(path) ? path : System.IO.Path.Combine(Text, "checkpoint", "config.json")))!.AsObject();
        (config["input_size"], config["vae_downsample_f"], config["loss_type"]) = (6, 4, "diff");
        change?.Invoke(config);
        File.WriteAllText(path, config.ToJsonString());
    }

    /// <summary>A condition and two pictures of it, in hexadecimal.</summary>
    public (string Condition, string Pixels) Make(torch.ScalarType dtype = torch.ScalarType.Float32)
    {
        var folder = MetaQueryModelFolder.Open(Path);
        using var text = TextModel.Load(folder, dtype);
        using var encoder = new ConditionEncoder(text.Model, text.Prompt);
        using var image = ImageModel.Load(folder, new ImageModelOptions { Dtype = dtype });
        using var denoiser = new ImageDenoiser(image);
        var conditions = encoder.Encode(["", "a red apple"]);
        var made = denoiser.Denoise(new ImageBatch(24, 24, 2, 2, [new ImageRow(conditions[1], conditions[0], 3, 5), new ImageRow(conditions[1], conditions[0], 3, 6)]));
        return (Convert.ToHexString(conditions[1]), Convert.ToHexString([.. made[0].Pixels, .. made[1].Pixels]));
    }

    public void Dispose() => Directory.Delete(Path, recursive: true);

    private void Copy(string source, string part, bool withWeights = true)
    {
        var target = Directory.CreateDirectory(System.IO.Path.Combine(Path, part)).FullName;
        foreach (var file in Directory.GetFiles(source).Where(file => withWeights || !file.EndsWith(".safetensors", StringComparison.Ordinal)))
            File.Copy(file, System.IO.Path.Combine(target, System.IO.Path.GetFileName(file)));
    }
}
