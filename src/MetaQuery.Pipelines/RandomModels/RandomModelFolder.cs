using System.Text.Json;
using System.Text.Json.Nodes;
using MetaQuery.Models.Autoencoder;
using MetaQuery.Models.Checkpoints;
using MetaQuery.Models.Connector;
using MetaQuery.Models.Diffusion;
using MetaQuery.Models.Mllm;
using MetaQuery.Models.Vision;
using TorchSharp;

namespace MetaQuery.Pipelines.RandomModels;

/// <summary>Writes a model folder of a family member's real shapes with random weights: to try memory, speed and every path without a download.
/// Its pictures show nothing.</summary>
public static class RandomModelFolder
{
    private const long ShardBytes = 4_000_000_000;

    /// <summary>Members that can be written.</summary>
    public static IReadOnlyList<string> Families => FamilyMember.Names;

    /// <param name="folder">Must not exist yet, or be empty; it appears when it is complete.</param>
    /// <param name="family">One of <see cref="Families"/>.</param>
    /// <param name="dtype">float32 or bfloat16.</param>
    /// <param name="seed">Another seed, other weights; the same seed, the same bytes.</param>
    /// <param name="progress">Told each part as it begins.</param>
    /// <returns>Bytes of all weights.</returns>
    /// <exception cref="PipelineException">The family is not known, the folder is not empty, or another call writes it.</exception>
    /// <exception cref="IOException">The disk takes no more; nothing is left under the folder's name.</exception>
    public static long Write(string folder, string family, torch.ScalarType dtype = torch.ScalarType.BFloat16, ulong seed = 0, IProgress<string>? progress = null)
    {
        var member = FamilyMember.Find(family);
        folder = Path.TrimEndingDirectorySeparator(Path.GetFullPath(folder));
        if (File.Exists(folder) || (Directory.Exists(folder) && Directory.EnumerateFileSystemEntries(folder).Any()))
            throw new PipelineException($"{folder}: is there already; name a folder that is not, or an empty one");
        using var unfinished = UnfinishedFolder.Begin(folder + ".unfinished");
        var bytes = new Writing(unfinished.Path, member, dtype, new RandomWeights(seed), progress).Run();
        unfinished.MoveTo(folder);
        return bytes;
    }

    private sealed class Writing(string folder, FamilyMember member, torch.ScalarType dtype, RandomWeights weights, IProgress<string>? progress)
    {
        private long _bytes;

        public long Run()
        {
            Json("config.json", member.Config);
            var (decoder, mllm) = Mllm();
            Part("mllm", "model", mllm);
            var checkpoint = new ShapeRecorder();
            using (var rows = MllmInContext.LoadNewRows(checkpoint, decoder, member.NumMetaqueries))
            using (new MetaQueryConnector(
                ConnectorConfig.OfReference(decoder.HiddenSize, member.ConnectorLayers, member.ConditionChannels), checkpoint.WithPrefix("model."), dtype))
            {
                Part("", "model", checkpoint);
            }

            Network();
            Autoencoder();
            Json("scheduler/scheduler_config.json", member.Scheduler);
            return _bytes;
        }

        private (DecoderConfig Decoder, ShapeRecorder Shapes) Mllm()
        {
            var file = Json("mllm/config.json", member.Mllm);
            Json("mllm/preprocessor_config.json", member.Preprocessor);
            RandomTokenizer.Write(Path.Combine(folder, "mllm"), member.SpecialTokens, member.ChatTemplate);
            Json("mllm/chat_template.json", new JsonObject { ["chat_template"] = member.ChatTemplate }.ToJsonString());
            var config = ConfigFile.Open(file);
            var decoder = DecoderConfig.FromTransformers(HuggingFaceFolder.Open(Path.Combine(folder, "mllm")).ReadConfig());
            var shapes = new ShapeRecorder();
            var prefix = MllmKinds.Of(config) == MllmKind.LlavaOnevision ? "language_model." : "";
            CausalDecoder.Load(decoder, shapes.WithPrefix(prefix), dtype).Dispose();
            (MllmKinds.LoadTower(config, shapes, dtype) as IDisposable)?.Dispose();
            return (decoder, shapes);
        }

        private void Network()
        {
            var shapes = new ShapeRecorder();
            var file = Json($"{member.NetworkFolder}/config.json", member.Network);
            if (member.NetworkFolder == "unet")
                UNet2DConditionModel.Load(shapes, UNet2DConditionConfig.Read(ConfigFile.Open(file)), dtype).Dispose();
            else
                SanaTransformer2DModel.Load(shapes, SanaTransformerConfig.Read(ConfigFile.Open(file)), dtype).Dispose();
            Part(member.NetworkFolder, "diffusion_pytorch_model", shapes);
        }

        private void Autoencoder()
        {
            var shapes = new ShapeRecorder();
            var file = Json("vae/config.json", member.Vae);
            if (member.NetworkFolder == "unet")
                AutoencoderKL.Load(shapes, AutoencoderKLConfig.Read(ConfigFile.Open(file)), dtype).Dispose();
            else
                AutoencoderDC.Load(shapes, AutoencoderDCConfig.Read(ConfigFile.Open(file)), dtype).Dispose();
            Part("vae", "diffusion_pytorch_model", shapes);
        }

        private void Part(string name, string stem, ShapeRecorder shapes)
        {
            var tensors = shapes.Asked.ToList();
            var bytes = tensors.Sum(tensor => tensor.Shape.Aggregate(1L, (product, size) => product * size)) * (dtype == torch.ScalarType.BFloat16 ? 2 : 4);
            progress?.Report($"{(name.Length == 0 ? "queries and connector" : name)}: {tensors.Count} tensors, {bytes / 1e9:0.00} GB");
            SafetensorsWriter.Write(Path.Combine(folder, name), stem, tensors, dtype, ShardBytes, (tensor, first, piece) =>
                weights.Fill(tensors[tensor].Key, tensors[tensor].Shape, first, dtype == torch.ScalarType.BFloat16, piece));
            _bytes += bytes;
        }

        private string Json(string path, string text)
        {
            var full = Path.Combine(folder, path);
            Directory.CreateDirectory(Path.GetDirectoryName(full)!);
            using var parsed = JsonDocument.Parse(text); // a slip in the text shows here, not when the folder is used
            File.WriteAllText(full, text);
            return full;
        }
    }
}
