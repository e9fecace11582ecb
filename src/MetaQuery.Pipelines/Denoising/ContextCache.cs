using System.Security.Cryptography;

namespace MetaQuery.Pipelines;

/// <summary>
/// Prepared conditions by their bytes, the least recently used given back first. A prompt's images and the empty prompt's
/// rows share one. For one thread.
/// </summary>
internal sealed class ContextCache(long capacityBytes) : IDisposable
{
    private readonly Dictionary<string, LinkedListNode<(string Key, VelocityContext Context)>> byKey = new(StringComparer.Ordinal);
    private readonly LinkedList<(string Key, VelocityContext Context)> newestFirst = new();
    private long bytes;

    /// <summary>Conditions that were prepared, for statistics.</summary>
    public long Misses { get; private set; }

    public VelocityContext GetOrAdd(ReadOnlySpan<byte> condition, Func<VelocityContext> prepare)
    {
        var key = Convert.ToHexString(SHA256.HashData(condition));
        if (byKey.TryGetValue(key, out var node))
        {
            newestFirst.Remove(node);
            newestFirst.AddFirst(node);
            return node.Value.Context;
        }

        Misses++;
        var context = prepare();
        byKey[key] = newestFirst.AddFirst((key, context));
        bytes += context.Bytes;
        return context;
    }

    /// <summary>Gives back what exceeds the capacity; called between batches, when no context is in use.</summary>
    public void Trim()
    {
        while (bytes > capacityBytes && newestFirst.Last is { } oldest)
        {
            newestFirst.RemoveLast();
            byKey.Remove(oldest.Value.Key);
            bytes -= oldest.Value.Context.Bytes;
            oldest.Value.Context.Dispose();
        }
    }

    public void Dispose()
    {
        foreach (var (_, context) in newestFirst)
        {
            context.Dispose();
        }

        newestFirst.Clear();
        byKey.Clear();
        bytes = 0;
    }
}
