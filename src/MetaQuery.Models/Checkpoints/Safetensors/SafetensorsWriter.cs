using System.Globalization;
using System.Text.Json.Nodes;
using TorchSharp;

namespace MetaQuery.Models.Checkpoints;

/// <summary>Writes safetensors files piece by piece, whatever their size: shards under an index where they are larger than one shard may be.</summary>
public static class SafetensorsWriter
{
    private const int PieceBytes = 16 << 20;

    /// <summary>Gives a piece of a tensor.</summary>
    /// <param name="tensor">Index in the list.</param>
    /// <param name="first">Its first element in the tensor.</param>
    /// <param name="piece">Receives elements, little-endian.</param>
    public delegate void Fill(int tensor, long first, Memory<byte> piece);

    /// <summary>Writes tensors of one dtype as <c>stem.safetensors</c>, or <c>stem-00001-of-00002.safetensors</c> and so on with <c>stem.safetensors.index.json</c>.</summary>
    /// <param name="folder">Exists; files of these names are replaced.</param>
    /// <param name="stem">Such as <c>model</c>.</param>
    /// <param name="tensors">In the order of the file.</param>
    /// <param name="dtype">float32 or bfloat16.</param>
    /// <param name="shardBytes">Largest shard, unless one tensor alone is larger.</param>
    /// <exception cref="ArgumentException">Another dtype.</exception>
    /// <exception cref="IOException">The disk takes no more.</exception>
    public static void Write(string folder, string stem, IReadOnlyList<(string Key, long[] Shape)> tensors, torch.ScalarType dtype, long shardBytes, Fill fill)
    {
        ArgumentNullException.ThrowIfNull(tensors);
        ArgumentNullException.ThrowIfNull(fill);
        var (name, elementBytes) = dtype switch
        {
            torch.ScalarType.Float32 => ("F32", 4),
            torch.ScalarType.BFloat16 => ("BF16", 2),
            _ => throw new ArgumentException($"dtype {dtype}: float32 and bfloat16 are written", nameof(dtype)),
        };
        var bytes = tensors.Select(tensor => tensor.Shape.Aggregate((long)elementBytes, (product, size) => checked(product * size))).ToArray();
        var shards = Cut(bytes, shardBytes);
        var map = new JsonObject();
        for (var i = 0; i < shards.Count; i++)
        {
            var file = shards.Count == 1 ? $"{stem}.safetensors" : string.Create(CultureInfo.InvariantCulture, $"{stem}-{i + 1:00000}-of-{shards.Count:00000}.safetensors");
            WriteShard(Path.Combine(folder, file), tensors, bytes, shards[i], name, elementBytes, fill);
            for (var tensor = shards[i].First; tensor < shards[i].End; tensor++)
            {
                map[tensors[tensor].Key] = file;
            }
        }

        if (shards.Count > 1)
        {
            var index = new JsonObject { ["metadata"] = new JsonObject { ["total_size"] = bytes.Sum() }, ["weight_map"] = map };
            File.WriteAllText(Path.Combine(folder, $"{stem}.safetensors.index.json"), index.ToJsonString());
        }
    }

    private static List<(int First, int End)> Cut(long[] bytes, long shardBytes)
    {
        var shards = new List<(int, int)>();
        var (first, held) = (0, 0L);
        for (var i = 0; i < bytes.Length; i++)
        {
            if (i > first && held + bytes[i] > shardBytes)
            {
                shards.Add((first, i));
                (first, held) = (i, 0);
            }

            held += bytes[i];
        }

        shards.Add((first, bytes.Length));
        return shards;
    }

    private static void WriteShard(
        string path, IReadOnlyList<(string Key, long[] Shape)> tensors, long[] bytes, (int First, int End) shard, string dtype, int elementBytes, Fill fill)
    {
        var header = new JsonObject { ["__metadata__"] = new JsonObject { ["format"] = "pt" } };
        var at = 0L;
        for (var i = shard.First; i < shard.End; at += bytes[i], i++)
        {
            header[tensors[i].Key] = new JsonObject
            {
                ["dtype"] = dtype,
                ["shape"] = new JsonArray([.. tensors[i].Shape.Select(size => JsonValue.Create(size))]),
                ["data_offsets"] = new JsonArray(at, at + bytes[i]),
            };
        }

        var text = System.Text.Encoding.UTF8.GetBytes(header.ToJsonString());
        var length = (text.Length + 7) / 8 * 8; // data begins at a multiple of eight, so that every tensor can be mapped
        using var file = new FileStream(path, FileMode.Create, FileAccess.Write, FileShare.Read, bufferSize: 0);
        file.Write(BitConverter.GetBytes((long)length));
        file.Write(text);
        file.Write(System.Text.Encoding.ASCII.GetBytes(new string(' ', length - text.Length)));
        var piece = new byte[PieceBytes];
        for (var i = shard.First; i < shard.End; i++)
        {
            for (var done = 0L; done < bytes[i]; done += PieceBytes)
            {
                var count = (int)Math.Min(PieceBytes, bytes[i] - done);
                fill(i, done / elementBytes, piece.AsMemory(0, count));
                file.Write(piece, 0, count);
            }
        }
    }
}
