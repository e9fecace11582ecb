using MetaQuery.Models.Vision;

namespace MetaQuery.Pipelines.Vision;

/// <summary>Pictures' states by the pictures' hashes, the least recently used dropped first, so that many instructions on one picture run the tower once.</summary>
/// <remarks>Safe to use from several threads at once: of those that miss the same picture at once one computes it, and the others wait.</remarks>
public sealed class VisionFeatureCache : IDisposable
{
    private readonly object _lock = new();
    private readonly HashSet<string> _making = new(StringComparer.Ordinal);
    private readonly Dictionary<string, LinkedListNode<(string Hash, ImageFeatures Features)>> _entries = new(StringComparer.Ordinal);
    private readonly LinkedList<(string Hash, ImageFeatures Features)> _leastRecentFirst = [];
    private readonly long _maxBytes;

    /// <param name="maxBytes">Of all states together; one picture's that are larger are not kept.</param>
    public VisionFeatureCache(long maxBytes)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(maxBytes);
        _maxBytes = maxBytes;
    }

    public long Bytes { get; private set; }

    public long Hits { get; private set; }

    public long Misses { get; private set; }

    public int Count => _entries.Count;

    /// <param name="hash">Of the picture.</param>
    /// <param name="encode">Makes the states that are not there; they then belong to the cache and the caller.</param>
    /// <returns>Owned by the caller: valid even after the cache has dropped its own.</returns>
    public ImageFeatures GetOrEncode(string hash, Func<ImageFeatures> encode)
    {
        ArgumentNullException.ThrowIfNull(encode);
        lock (_lock)
        {
            LinkedListNode<(string Hash, ImageFeatures Features)>? node;
            while (!_entries.TryGetValue(hash, out node) && !_making.Add(hash))
                Monitor.Wait(_lock);
            if (node is not null)
            {
                Hits++;
                _leastRecentFirst.Remove(node);
                _leastRecentFirst.AddLast(node);
                return Share(node.Value.Features);
            }

            Misses++;
        }

        ImageFeatures? features = null;
        try
        {
            return features = encode();
        }
        finally
        {
            lock (_lock)
            {
                _making.Remove(hash);
                if (features is not null && features.Bytes <= _maxBytes)
                    Keep(hash, features);
                Monitor.PulseAll(_lock);
            }
        }
    }

    public void Dispose()
    {
        lock (_lock)
        {
            while (_entries.Count > 0)
                DropFirst();
        }
    }

    private void Keep(string hash, ImageFeatures features)
    {
        _entries.Add(hash, _leastRecentFirst.AddLast((hash, Share(features))));
        Bytes += features.Bytes;
        while (Bytes > _maxBytes)
            DropFirst();
    }

    private void DropFirst()
    {
        var (hash, features) = _leastRecentFirst.First!.Value;
        _leastRecentFirst.RemoveFirst();
        _entries.Remove(hash);
        Bytes -= features.Bytes;
        features.Dispose();
    }

    // A handle of its own on the same memory, in no scope: it lives until its owner disposes it.
    private static ImageFeatures Share(ImageFeatures features) => features with { States = features.States.alias().DetachFromDisposeScope() };
}
