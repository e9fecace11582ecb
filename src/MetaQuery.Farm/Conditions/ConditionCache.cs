namespace MetaQuery.Farm;

/// <summary>A condition that is wanted.</summary>
/// <param name="Key">Its name.</param>
/// <param name="Request">What to encode where no tier holds it.</param>
/// <param name="KeepOnDisk">Whether it will be wanted again long after; otherwise memory alone holds it.</param>
public readonly record struct ConditionLookup(ConditionKey Key, ConditionRequest Request, bool KeepOnDisk);

/// <summary>Conditions by key: a byte-bounded memory tier (least recently used goes first), a disk tier, and single flight.</summary>
/// <remarks>Thread-safe. What is asked for by several threads at once is encoded by the first of them; the others wait for it.</remarks>
public sealed class ConditionCache
{
    private readonly long _memoryBudgetBytes;
    private readonly DiskConditionTier? _disk;
    private readonly Lock _gate = new();
    private readonly Dictionary<ConditionKey, LinkedListNode<(ConditionKey Key, byte[] Condition)>> _memory = [];
    private readonly LinkedList<(ConditionKey Key, byte[] Condition)> _leastRecentFirst = [];
    private readonly Dictionary<ConditionKey, TaskCompletionSource<byte[]?>> _flights = [];
    private long _memoryBytes;
    private long _memoryHits;
    private long _diskHits;
    private long _misses;
    private long _sharedFlights;
    private long _evictions;
    private long _corruptEntries;

    public ConditionCache(long memoryBudgetBytes, DiskConditionTier? disk)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(memoryBudgetBytes);
        _memoryBudgetBytes = memoryBudgetBytes;
        _disk = disk;
    }

    public ConditionCacheCounters Counters
    {
        get
        {
            lock (_gate)
            {
                return new ConditionCacheCounters(
                    _memoryHits, _diskHits, _misses, _sharedFlights, _evictions, _corruptEntries, _memoryBytes, _disk?.Bytes ?? 0);
            }
        }
    }

    /// <summary>Finds conditions, and makes those that no tier holds in one call of <paramref name="encode"/>.</summary>
    /// <returns>One per lookup, in order. The arrays are shared: not to be written to.</returns>
    /// <exception cref="OperationCanceledException">While waiting for another thread's pass.</exception>
    public byte[][] GetOrEncode(
        IReadOnlyList<ConditionLookup> lookups,
        Func<IReadOnlyList<ConditionRequest>, CancellationToken, IReadOnlyList<byte[]>> encode,
        CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(lookups);
        ArgumentNullException.ThrowIfNull(encode);
        var found = new byte[lookups.Count][];
        bool wanting = true;
        while (wanting)
        {
            cancellationToken.ThrowIfCancellationRequested();
            var own = new List<int>();
            var ownKeys = new HashSet<ConditionKey>();
            var waits = new List<(int Index, Task<byte[]?> Flight)>();
            lock (_gate)
            {
                for (int i = 0; i < found.Length; i++)
                {
                    if (found[i] is not null)
                    {
                        continue;
                    }

                    ConditionKey key = lookups[i].Key;
                    if (_memory.TryGetValue(key, out var entry))
                    {
                        _memoryHits++;
                        _leastRecentFirst.Remove(entry);
                        _leastRecentFirst.AddLast(entry);
                        found[i] = entry.Value.Condition;
                    }
                    else if (_flights.TryGetValue(key, out TaskCompletionSource<byte[]?>? flight))
                    {
                        waits.Add((i, flight.Task));
                    }
                    else
                    {
                        _flights.Add(key, new TaskCompletionSource<byte[]?>(TaskCreationOptions.RunContinuationsAsynchronously));
                        own.Add(i);
                        ownKeys.Add(key);
                    }
                }
            }

            // own flights end before others' are waited for: two threads that wait for each other's cannot both be stuck
            Fly(lookups, own, found, encode, cancellationToken);
            wanting = false;
            foreach ((int index, Task<byte[]?> flight) in waits)
            {
                flight.Wait(cancellationToken);
                if (flight.Result is { } condition)
                {
                    found[index] = condition;
                    Interlocked.Increment(ref ownKeys.Contains(lookups[index].Key) ? ref _memoryHits : ref _sharedFlights);
                }
                else
                {
                    wanting = true; // its maker failed: this caller tries itself
                }
            }
        }

        return found;
    }

    private void Fly(
        IReadOnlyList<ConditionLookup> lookups, List<int> own, byte[]?[] found,
        Func<IReadOnlyList<ConditionRequest>, CancellationToken, IReadOnlyList<byte[]>> encode, CancellationToken cancellationToken)
    {
        int landed = 0;
        try
        {
            var missing = new List<int>();
            foreach (int index in own)
            {
                bool corrupt = false;
                if (_disk?.TryRead(lookups[index].Key, out corrupt) is { } condition)
                {
                    Interlocked.Increment(ref _diskHits);
                    found[index] = condition;
                    Land(lookups[index].Key, condition);
                    landed++;
                    continue;
                }

                if (corrupt)
                {
                    Interlocked.Increment(ref _corruptEntries);
                }

                missing.Add(index);
            }

            if (missing.Count == 0)
            {
                return;
            }

            IReadOnlyList<byte[]> made = encode([.. missing.Select(index => lookups[index].Request)], cancellationToken);
            if (made.Count != missing.Count)
            {
                throw new InvalidOperationException($"the encoder gave {made.Count} conditions for {missing.Count} requests");
            }

            Interlocked.Add(ref _misses, missing.Count);
            for (int i = 0; i < missing.Count; i++)
            {
                ConditionLookup lookup = lookups[missing[i]];
                if (lookup.KeepOnDisk)
                {
                    _disk?.Write(lookup.Key, made[i]);
                }

                found[missing[i]] = made[i];
                Land(lookup.Key, made[i]);
                landed++;
            }
        }
        finally
        {
            if (landed < own.Count)
            {
                foreach (int index in own.Where(index => found[index] is null))
                {
                    End(lookups[index].Key, null);
                }
            }
        }
    }

    private void Land(ConditionKey key, byte[] condition)
    {
        lock (_gate)
        {
            if (condition.Length <= _memoryBudgetBytes)
            {
                _memory[key] = _leastRecentFirst.AddLast((key, condition));
                _memoryBytes += condition.Length;
                while (_memoryBytes > _memoryBudgetBytes)
                {
                    (ConditionKey oldest, byte[] dropped) = _leastRecentFirst.First!.Value;
                    _leastRecentFirst.RemoveFirst();
                    _memory.Remove(oldest);
                    _memoryBytes -= dropped.Length;
                    _evictions++;
                }
            }
        }

        End(key, condition);
    }

    private void End(ConditionKey key, byte[]? condition)
    {
        TaskCompletionSource<byte[]?>? flight;
        lock (_gate)
        {
            _flights.Remove(key, out flight);
        }

        flight?.SetResult(condition);
    }
}
