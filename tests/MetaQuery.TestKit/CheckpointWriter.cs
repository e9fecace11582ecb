using System.Buffers.Binary;
using System.Text;
using System.Text.Json;
using MetaQuery.Models.Checkpoints;
using TorchSharp;

namespace MetaQuery.TestKit;

/// <summary>Puts tensors of other files under other names into one, or into shards: checkpoints that nobody can keep in a repository.</summary>
public static class CheckpointWriter
{
    /// <param name="Key">In the new file.</param>
    /// <param name="Source">Where the tensor comes from; stays the caller's.</param>
    /// <param name="Dtype">What it is converted to: float32 or bfloat16.</param>
    public sealed record Entry(string Key, WeightSource Source, string SourceKey, torch.ScalarType Dtype = torch.ScalarType.Float32);

    /// <summary>All tensors of a source, their names behind a prefix.</summary>
    public static IEnumerable<Entry> All(WeightSource source, string prefix, torch.ScalarType dtype = torch.ScalarType.Float32)
    {
        ArgumentNullException.ThrowIfNull(source);
        return source.Keys.Select(key => new Entry(prefix + key, source, key, dtype));
    }

    public static void Write(string path, IEnumerable<Entry> entries)
    {
        ArgumentNullException.ThrowIfNull(entries);
        var (header, data) = (new Dictionary<string, object>(StringComparer.Ordinal), new MemoryStream());
        foreach (var entry in entries)
        {
            using var tensor = entry.Source.Load(entry.SourceKey, entry.Dtype);
            using var contiguous = tensor.contiguous();
            var begin = data.Length;
            data.Write(contiguous.bytes);
            header.Add(entry.Key, new { dtype = entry.Dtype == torch.ScalarType.BFloat16 ? "BF16" : "F32", shape = contiguous.shape, data_offsets = new[] { begin, data.Length } });
        }

        var text = Encoding.UTF8.GetBytes(JsonSerializer.Serialize(header));
        using var file = File.Create(path);
        Span<byte> length = stackalloc byte[sizeof(ulong)];
        BinaryPrimitives.WriteUInt64LittleEndian(length, (ulong)text.Length);
        file.Write(length);
        file.Write(text);
        data.WriteTo(file);
    }

    /// <summary>Writes model-0000i-of-0000n.safetensors and model.safetensors.index.json.</summary>
    public static void WriteShards(string folder, IReadOnlyList<Entry> entries, int shards)
    {
        var map = new Dictionary<string, string>(StringComparer.Ordinal);
        foreach (var (index, part) in entries.Chunk((entries.Count + shards - 1) / shards).Index())
        {
            var name = $"model-{index + 1:00000}-of-{shards:00000}.safetensors";
            Write(Path.Combine(folder, name), part);
            foreach (var entry in part)
                map.Add(entry.Key, name);
        }

        File.WriteAllText(Path.Combine(folder, "model.safetensors.index.json"), JsonSerializer.Serialize(new { metadata = new { total_size = 0 }, weight_map = map }));
    }
}
