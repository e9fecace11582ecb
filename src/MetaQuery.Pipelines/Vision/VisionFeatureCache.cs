using System.Diagnostics;
using MetaQuery.Models.Vision;

namespace MetaQuery.Pipelines.Vision;

/// <summary>Pictures' states by the pictures' hashes, the least recently used dropped first, so that many instructions on one picture run the tower once.</summary>
/// <remarks>Safe to use from several threads at once: of those that miss the same picture at once one computes it, and the others wait: not for ever, as it may hang.</remarks>
public sealed class VisionFeatureCache : IDisposable
{
    private const int WaitMilliseconds = 200; // after which a wait looks whether it was cancelled

    // Well beyond what a tower takes on one core, well within the half hour after which a silent batch is taken to hang.
    private static readonly TimeSpan LongestWait = TimeSpan.FromMinutes(10);

    private readonly object _lock = new();
    private readonly Dictionary<string, Making> _making = new(StringComparer.Ordinal);
    private readonly Dictionary<string, LinkedListNode<(string Hash, ImageFeatures Features)>> _entries = new(StringComparer.Ordinal);
    private readonly LinkedList<(string Hash, ImageFeatures Features)> _leastRecentFirst = [];
    private readonly long _maxBytes;
    private readonly TimeSpan _longestWait;

    /// <param name="maxBytes">Of all states together; one picture's that are larger are not kept.</param>
    public VisionFeatureCache(long maxBytes)
        : this(maxBytes, LongestWait)
    {
    }

    /// <param name="longestWait">Since a thread began a picture: who waits for it then computes the picture itself.</param>
    internal VisionFeatureCache(long maxBytes, TimeSpan longestWait)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(maxBytes);
        (_maxBytes, _longestWait) = (maxBytes, longestWait);
    }

    public long Bytes { get; private set; }

    public long Hits { get; private set; }

    public long Misses { get; private set; }

    public int Count => _entries.Count;

    /// <param name="hash">Of the picture.</param>
    /// <param name="encode">Makes the states that are not there; they then belong to the cache and the caller.</param>
    /// <param name="cancellationToken">Ends the wait for another thread's states; <paramref name="encode"/> itself is not ended.</param>
    /// <returns>Owned by the caller: valid even after the cache has dropped its own.</returns>
    /// <exception cref="OperationCanceledException">While it waited <paramref name="cancellationToken"/> fired.</exception>
    public ImageFeatures GetOrEncode(string hash, Func<ImageFeatures> encode, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(encode);
        var own = new Making();
        lock (_lock)
        {
            LinkedListNode<(string Hash, ImageFeatures Features)>? node;
            while (!_entries.TryGetValue(hash, out node) && _making.TryGetValue(hash, out var other) && other.Clock.Elapsed < _longestWait)
            {
                Monitor.Wait(_lock, WaitMilliseconds);
                cancellationToken.ThrowIfCancellationRequested();
            }

            if (node is not null)
            {
                Hits++;
                _leastRecentFirst.Remove(node);
                _leastRecentFirst.AddLast(node);
                return Share(node.Value.Features);
            }

            Misses++;
            own.Clock.Restart();
            _making[hash] = own; // in the place of one that took too long: the others wait for this one now
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
                if (_making.GetValueOrDefault(hash) == own)
                    _making.Remove(hash);
                if (features is not null && features.Bytes <= _maxBytes && !_entries.ContainsKey(hash))
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

    /// <summary>One thread's work on a picture.</summary>
    private sealed class Making
    {
        public Stopwatch Clock { get; } = new();
    }
}
