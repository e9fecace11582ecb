using System.Text.Unicode;

namespace MetaQuery.Models.Checkpoints;

/// <summary>The index of a sharded checkpoint, <c>*.safetensors.index.json</c>: which file holds which tensor. Shards are plain names of
/// files beside the index: a path that leads elsewhere is refused, whatever lies there.</summary>
sealed class ShardIndex
{
    /// <summary>An index of a million tensors is a tenth of this.</summary>
    const long LargestIndexBytes = 1L << 30;

    ShardIndex(string path, Dictionary<string, string> shardOf) => (Path, ShardOf) = (path, shardOf);

    public string Path { get; }

    /// <summary>From tensor name to file name.</summary>
    public IReadOnlyDictionary<string, string> ShardOf { get; }

    public static ShardIndex Read(CheckpointFile file)
    {
        if (file.Length > LargestIndexBytes)
            throw CheckpointException.OfFile(file.Path, $"an index of {file.Length} bytes is too large, at most {LargestIndexBytes} are read");
        byte[] json = GC.AllocateUninitializedArray<byte>((int)file.Length);
        file.Read(0, json);
        if (!Utf8.IsValid(json))
            throw CheckpointException.OfFile(file.Path, "the index is not valid UTF-8");

        Dictionary<string, string>? shardOf = null;
        var fields = new HashSet<string>();
        var reader = new StrictJson(file.Path, "index", json);
        reader.BeginObject("the index");
        while (reader.NextProperty() is { } field)
        {
            if (!fields.Add(field))
                throw reader.Error($"the field {CheckpointException.Quote(field)} stands twice in the index");
            if (field.Equals("weight_map", StringComparison.Ordinal))
                shardOf = ReadMap(ref reader);
            else
                reader.SkipValue();
        }
        reader.End();
        if (shardOf is null)
            throw CheckpointException.OfFile(file.Path, "the index has no weight_map");
        if (shardOf.Count == 0)
            throw CheckpointException.OfFile(file.Path, "the weight_map of the index lists no tensor");
        return new ShardIndex(file.Path, shardOf);
    }

    static Dictionary<string, string> ReadMap(ref StrictJson reader)
    {
        var map = new Dictionary<string, string>();
        string lastShard = "";
        reader.BeginObject("weight_map");
        while (reader.NextProperty() is { } tensor)
        {
            reader.Tensor = tensor;
            string shard = reader.ReadString("the name of its shard");
            if (!shard.Equals(lastShard, StringComparison.Ordinal))
            {
                RequirePlainName(ref reader, shard);
                lastShard = shard; // one string for a shard's many tensors
            }
            if (!map.TryAdd(tensor, lastShard))
                throw reader.Error("the name stands twice in weight_map");
            reader.Tensor = null;
        }
        return map;
    }

    static void RequirePlainName(ref StrictJson reader, string shard)
    {
        if (shard.AsSpan().ContainsAny('/', '\\', '\0') || shard.Contains(':', StringComparison.Ordinal) || shard is "" or "." or "..")
            throw reader.Error($"its shard {CheckpointException.Quote(shard)} is not the plain name of a file beside the index");
        if (!shard.EndsWith(".safetensors", StringComparison.Ordinal))
            throw reader.Error($"its shard {CheckpointException.Quote(shard)} is no .safetensors file");
    }
}
