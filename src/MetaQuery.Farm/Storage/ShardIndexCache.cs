using MetaQuery.Data;

namespace MetaQuery.Farm;

/// <summary>Indexes of the shards that were looked into last, for all jobs of the process. Thread-safe.</summary>
internal static class ShardIndexCache
{
    private const int Most = 8;
    private static readonly Lock Gate = new();
    private static readonly LinkedList<(string Path, long Bytes, DateTime Changed, ShardIndex Index)> Kept = new();

    /// <returns>The index of a finished shard, read anew where its file has changed.</returns>
    public static ShardIndex Open(string path)
    {
        var file = new FileInfo(path);
        lock (Gate)
        {
            for (var node = Kept.First; node is not null; node = node.Next)
            {
                if (node.Value.Path == path && node.Value.Bytes == file.Length && node.Value.Changed == file.LastWriteTimeUtc)
                {
                    Kept.Remove(node);
                    Kept.AddFirst(node);
                    return node.Value.Index;
                }
            }
        }

        ShardIndex index = ShardIndex.Open(path);
        lock (Gate)
        {
            Kept.AddFirst((path, file.Length, file.LastWriteTimeUtc, index));
            while (Kept.Count > Most)
            {
                Kept.RemoveLast();
            }
        }

        return index;
    }
}
