using System.Text.Json.Nodes;

namespace MetaQuery.TestKit;

/// <summary>
/// A whole MetaQuery model folder out of golden cases' parts, a few megabytes: Qwen2.5-VL with its vision tower, queries and connector (48 channels), and
/// either Sana with DC-AE (64 pixels) or SD 1.5's UNet with AutoencoderKL (24 pixels). Its pictures show nothing; its bits are as exact as a large model's.
/// </summary>
public sealed class TinyMetaQuery : IDisposable
{
    private TinyMetaQuery(string name)
    {
        Folder = Path.Combine(Directory.CreateTempSubdirectory("metaquery-whole-").FullName, name);
        Directory.CreateDirectory(Folder);
    }

    /// <summary>For <c>--model</c>.</summary>
    public string Folder { get; }

    private static string Text => Path.Combine(RepositoryFolders.VisibleFixtures, "mllm", "metaquery-condition-qwenvl");

    private static string Diffusion => Path.Combine(RepositoryFolders.VisibleFixtures, "diffusion");

    /// <summary>Pictures of golden cases: RGB of 61 × 43, 16-bit grey, a JPEG with an EXIF turn, and others.</summary>
    public static string Picture(string name) => Path.Combine(RepositoryFolders.VisibleFixtures, "mllm", "image-preprocess", name);

    public static TinyMetaQuery Sana()
    {
        var made = new TinyMetaQuery("tiny-sana");
        made.Copy(Path.Combine(Diffusion, "sana-transformer", "base"), "transformer");
        made.Copy(Path.Combine(Diffusion, "autoencoder-dc", "f32"), "vae");
        made.Copy(Path.Combine(Diffusion, "metaquery-sampling", "sana", "scheduler"), "scheduler");
        made.Finish(inputSize: 2, inChannels: 8, downsample: 32, "flow");
        return made;
    }

    public static TinyMetaQuery StableDiffusion()
    {
        var made = new TinyMetaQuery("tiny-sd");
        made.Copy(Path.Combine(Diffusion, "unet2d-condition", "sd15"), "unet");
        made.Copy(Path.Combine(Diffusion, "autoencoder-kl", "sd15"), "vae");
        made.Copy(Path.Combine(Diffusion, "schedulers", "dpm-sd15"), "scheduler");
        made.Finish(inputSize: 6, inChannels: null, downsample: 4, "diff");
        return made;
    }

    public void Dispose() => Directory.Delete(Path.GetDirectoryName(Folder)!, recursive: true);

    private void Finish(int inputSize, int? inChannels, int downsample, string loss)
    {
        Copy(Path.Combine(Text, "mllm"), "mllm");
        File.Copy(Path.Combine(Text, "checkpoint", "model.safetensors"), Path.Combine(Folder, "model.safetensors"));
        JsonObject config = JsonNode.Parse(File.ReadAllText(Path.Combine(Text, "checkpoint", "config.json")))!.AsObject();
        config["mllm"] = "mllm";
        config["input_size"] = inputSize;
        config["vae_downsample_f"] = downsample;
        config["loss_type"] = loss;
        config["default_num_inference_steps"] = 3;
        if (inChannels is { } channels)
        {
            config["in_channels"] = channels;
        }

        File.WriteAllText(Path.Combine(Folder, "config.json"), config.ToJsonString());
    }

    private void Copy(string source, string part)
    {
        string target = Directory.CreateDirectory(Path.Combine(Folder, part)).FullName;
        foreach (string file in Directory.GetFiles(source).Where(file => Path.GetFileName(file) is not ("case.json" or "expected.safetensors" or "inputs.safetensors")))
        {
            File.Copy(file, Path.Combine(target, Path.GetFileName(file)));
        }
    }
}
