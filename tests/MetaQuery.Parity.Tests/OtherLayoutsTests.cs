using System.Text;
using System.Text.Json.Nodes;
using MetaQuery.Models.Checkpoints;
using MetaQuery.TestKit;
using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Parity.Tests;

/// <summary>
/// Golden cases once more, stored in another way that holds the same values: in another folder, a shard for every tensor in the
/// opposite order, types widened (bfloat16 to float32, every other float32 to float64), data at odd bytes of the file.
/// </summary>
[LeakCheck]
public sealed class OtherLayoutsTests : IDisposable
{
    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("layouts-");

    public void Dispose() => _folder.Delete(recursive: true);

    [Theory]
    [InlineData("mllm/llama-text")]
    [InlineData("mllm/qwen2-text")]
    [InlineData("mllm/connector")]
    [InlineData("mllm/metaquery-condition-qwenvl")]
    [InlineData("mllm/qwen2_5-vl")]
    [InlineData("mllm/llava-onevision")]
    [InlineData("mllm/siglip")]
    [InlineData("diffusion/sana-transformer/patch2-positions")]
    [InlineData("diffusion/autoencoder-dc/tiling")]
    [InlineData("diffusion/unet2d-condition/small-activations")]
    [InlineData("diffusion/autoencoder-kl/small-activations")]
    [InlineData("diffusion/metaquery-sampling/sana-flow-euler")]
    [InlineData("diffusion/metaquery-sampling/sd15")]
    public void A_case_agrees_however_its_weights_are_stored(string name)
    {
        var target = Path.Combine(_folder.FullName, "elsewhere", "other name");
        Copy(Path.Combine(RepositoryFolders.VisibleFixtures, name), target);
        foreach (var folder in Directory.GetDirectories(target, "*", SearchOption.AllDirectories).Append(target))
        {
            Rewrite(folder);
        }

        var entry = Assert.Single(ParityCatalog.Find(_folder.FullName, typeof(OtherLayoutsTests).Assembly));
        var report = new ParityReport();
        using (var parityCase = ParityCase.Open(entry.Folder, entry.Name))
        {
            entry.Runner!.Run(parityCase, report);
        }

        Assert.True(report.Passed, $"{report}\n{string.Join("\n", report.Failures.Take(10))}");
    }

    private static void Copy(string source, string target)
    {
        Directory.CreateDirectory(target);
        foreach (var file in Directory.GetFiles(source))
        {
            File.Copy(file, Path.Combine(target, Path.GetFileName(file)));
        }

        foreach (var folder in Directory.GetDirectories(source))
        {
            Copy(folder, Path.Combine(target, Path.GetFileName(folder)));
        }
    }

    private static void Rewrite(string folder)
    {
        if (!HuggingFaceFolder.Open(folder).HasWeights())
        {
            return;
        }

        var old = Directory.GetFiles(folder, "*model*.safetensors*");
        var stem = Path.GetFileName(old[0]).StartsWith("diffusion", StringComparison.Ordinal) ? "diffusion_pytorch_model" : "model";
        var map = new JsonObject();
        using (var weights = HuggingFaceFolder.Open(folder).OpenWeights())
        {
            foreach (var (i, key) in weights.Keys.Reverse().Index())
            {
                var file = $"shard {i}.safetensors";
                map[key] = file;
                File.WriteAllBytes(Path.Combine(folder, file), Shard(weights, key, widen: i % 2 == 0));
            }
        }

        Array.ForEach(old, File.Delete);
        File.WriteAllText(Path.Combine(folder, $"{stem}.safetensors.index.json"), new JsonObject { ["weight_map"] = map }.ToJsonString());
    }

    private static byte[] Shard(WeightSource weights, string key, bool widen)
    {
        using var scope = NewDisposeScope();
        var stored = weights.Describe(key).Dtype;
        var (dtype, name) = stored switch
        {
            ScalarType.BFloat16 => (ScalarType.Float32, "F32"),
            ScalarType.Float32 when widen => (ScalarType.Float64, "F64"),
            ScalarType.Float32 => (ScalarType.Float32, "F32"),
            _ => throw new ParityCaseException($"{key}: a weight of {stored} has no wider type here"),
        };
        var tensor = weights.Load(key, dtype).contiguous();
        var header = new JsonObject
        {
            [key] = new JsonObject
            {
                ["dtype"] = name,
                ["shape"] = new JsonArray([.. tensor.shape.Select(size => JsonValue.Create(size))]),
                ["data_offsets"] = new JsonArray(0, tensor.numel() * tensor.element_size()),
            },
        }.ToJsonString();
        header += header.Length % 2 == 0 ? " " : ""; // blanks are legal padding; here they put the data at an odd byte
        return [.. BitConverter.GetBytes((ulong)Encoding.UTF8.GetByteCount(header)), .. Encoding.UTF8.GetBytes(header), .. tensor.bytes];
    }
}
