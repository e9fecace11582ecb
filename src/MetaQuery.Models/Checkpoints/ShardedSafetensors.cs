using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Models.Checkpoints;

/// <summary>A checkpoint in several safetensors files under one index. Index and shards must agree exactly: every listed tensor is in its
/// shard, and every tensor of a shard is listed there.</summary>
public sealed class ShardedSafetensors : WeightSource
{
    readonly List<SafetensorsFile> shards = [];
    readonly Dictionary<string, SafetensorsFile> fileOf = [];
    string[]? keys;

    ShardedSafetensors(string indexPath)
    {
        Path = indexPath;
        try
        {
            ShardIndex index;
            using (var file = new MappedCheckpointFile(indexPath))
                index = ShardIndex.Read(file);
            OpenShards(index);
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    /// <summary>The index file.</summary>
    public override string Path { get; }

    public override IReadOnlyCollection<string> Keys => keys ??= [.. shards.SelectMany(shard => shard.Keys)];

    /// <param name="folderOrIndex">The index file, or a folder that holds exactly one <c>*.safetensors.index.json</c>.</param>
    /// <exception cref="CheckpointException">The index or a shard is missing or malformed, or they disagree.</exception>
    public static ShardedSafetensors Open(string folderOrIndex)
    {
        if (!Directory.Exists(folderOrIndex))
            return new ShardedSafetensors(folderOrIndex);
        string[] indexes = Directory.GetFiles(folderOrIndex, "*.safetensors.index.json");
        return indexes.Length == 1 ? new ShardedSafetensors(indexes[0])
            : throw CheckpointException.OfFile(folderOrIndex, $"the folder holds {indexes.Length} files *.safetensors.index.json, one is needed");
    }

    public override bool Contains(string key) => fileOf.ContainsKey(key);

    public override WeightInfo Describe(string key) => File(key).Describe(key);

    public override Tensor Load(string key, ScalarType? dtype = null) => File(key).Load(key, dtype);

    void OpenShards(ShardIndex index)
    {
        string folder = System.IO.Path.GetDirectoryName(System.IO.Path.GetFullPath(index.Path))!;
        var opened = new Dictionary<string, SafetensorsFile>();
        foreach (var (tensor, shard) in index.ShardOf)
        {
            if (!opened.TryGetValue(shard, out var file))
            {
                string path = System.IO.Path.Combine(folder, shard);
                if (!System.IO.File.Exists(path))
                    throw CheckpointException.OfTensor(index.Path, tensor, $"its shard {CheckpointException.Quote(shard)} is not there");
                file = SafetensorsFile.Open(path);
                opened.Add(shard, file);
                shards.Add(file);
            }
            if (!file.Contains(tensor))
                throw CheckpointException.OfTensor(index.Path, tensor, $"its shard {CheckpointException.Quote(shard)} does not hold it");
            fileOf.Add(tensor, file);
        }
        foreach (var (shard, file) in opened)
        {
            foreach (string tensor in file.Keys)
            {
                if (!index.ShardOf.TryGetValue(tensor, out string? listed))
                    throw CheckpointException.OfTensor(file.Path, tensor, "the index does not list it");
                if (!listed.Equals(shard, StringComparison.Ordinal))
                    throw CheckpointException.OfTensor(file.Path, tensor, $"the index says that it is in {CheckpointException.Quote(listed)}");
            }
        }
    }

    SafetensorsFile File(string key) =>
        fileOf.TryGetValue(key, out var file) ? file : throw CheckpointException.OfTensor(Path, key, "there is no such tensor in the index");

    protected override void Dispose(bool disposing)
    {
        if (!disposing)
            return;
        foreach (var shard in shards)
            shard.Dispose();
    }
}
