namespace MetaQuery.Farm;

/// <summary>A condition that is wanted.</summary>
/// <param name="Key">Its name.</param>
/// <param name="Request">What to encode where no tier holds it.</param>
/// <param name="KeepOnDisk">Whether it will be wanted again long after; otherwise it goes only to the tiers that keep all.</param>
public readonly record struct ConditionLookup(ConditionKey Key, ConditionRequest Request, bool KeepOnDisk);

/// <summary>Conditions by key: memory first (least recently used goes first), then other tiers in their order, and single flight.</summary>
/// <remarks>
/// Thread-safe. What is asked for by several threads at once is made by the first of them; with a board, by one process of the farm.
/// An entry that is evicted or damaged is simply not there: it is made again.
/// </remarks>
public sealed class ConditionCache
{
    private readonly IReadOnlyList<IConditionTier> _tiers;
    private readonly IFlightBoard? _board;
    private readonly Lock _gate = new();
    private readonly ConditionMemory _memory;
    private readonly RecentKeys _made = new(1 << 16);
    private readonly Dictionary<ConditionKey, TaskCompletionSource<byte[]?>> _flights = [];
    private readonly Dictionary<string, long> _tierHits = new(StringComparer.Ordinal);
    private long _memoryHits;
    private long _misses;
    private long _madeAgain;
    private long _sharedFlights;
    private long _corruptEntries;

    /// <param name="memoryBudgetBytes">Of the memory tier.</param>
    /// <param name="tiers">The others, in the order in which they are asked.</param>
    /// <param name="board">Keeps processes from making the same condition; null where there is one process.</param>
    public ConditionCache(long memoryBudgetBytes, IReadOnlyList<IConditionTier> tiers, IFlightBoard? board = null)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(memoryBudgetBytes);
        ArgumentNullException.ThrowIfNull(tiers);
        _memory = new ConditionMemory(memoryBudgetBytes);
        _tiers = tiers;
        _board = board;
    }

    public ConditionCache(long memoryBudgetBytes, DiskConditionTier? disk)
        : this(memoryBudgetBytes, disk is null ? [] : [disk])
    {
    }

    public ConditionCacheCounters Counters
    {
        get
        {
            lock (_gate)
            {
                return new ConditionCacheCounters(
                    _memoryHits, _tierHits.GetValueOrDefault("disk"), _misses, _sharedFlights, _memory.Evictions,
                    _corruptEntries, _memory.Bytes, BytesOf("disk"))
                {
                    RedisHits = _tierHits.GetValueOrDefault("redis"),
                    RedisBytes = BytesOf("redis"),
                    MadeAgain = _madeAgain,
                    RedisEvictions = _tiers.Where(tier => tier.Name == "redis").Sum(tier => tier.Evictions),
                    DiskEvictions = _tiers.Where(tier => tier.Name == "disk").Sum(tier => tier.Evictions),
                };
            }
        }
    }

    /// <summary>Looks into memory and the tiers; makes nothing.</summary>
    /// <returns>The condition, not to be written to; null where no tier holds it.</returns>
    /// <exception cref="FarmException">A tier cannot be reached.</exception>
    /// <exception cref="Data.StorageException">A tier cannot be read.</exception>
    public byte[]? TryFind(ConditionKey key)
    {
        lock (_gate)
        {
            if (_memory.TryGet(key) is { } held)
            {
                _memoryHits++;
                return held;
            }
        }

        return ReadTiers(key);
    }

    /// <summary>Sees to it that a condition which is somewhere is where every process finds it; makes nothing.</summary>
    /// <returns>False where no tier holds it.</returns>
    /// <exception cref="FarmException">A tier cannot be reached.</exception>
    /// <exception cref="Data.StorageException">A tier cannot be read or written.</exception>
    public bool TryPublish(ConditionLookup lookup)
    {
        IConditionTier[] shared = [.. _tiers.Where(tier => tier.KeepsAll)];
        if (shared.Length == 0 || Array.Exists(shared, tier => Read(tier, lookup.Key) is not null))
        {
            return shared.Length > 0 || TryFind(lookup.Key) is not null;
        }

        if (TryFind(lookup.Key) is not { } condition)
        {
            return false;
        }

        Array.ForEach(shared, tier => tier.Write(lookup.Key, condition));
        return true;
    }

    /// <summary>Finds what is there, and takes the right to make what is not and nobody else makes.</summary>
    /// <exception cref="FarmException">A tier or the board cannot be reached.</exception>
    /// <exception cref="Data.StorageException">A tier cannot be read.</exception>
    internal ConditionFlights Depart(IReadOnlyList<ConditionLookup> lookups)
    {
        var flights = new ConditionFlights(this, lookups.Count);
        var own = new Queue<int>();
        lock (_gate)
        {
            for (int i = 0; i < lookups.Count; i++)
            {
                ConditionKey key = lookups[i].Key;
                if (_memory.TryGet(key) is { } held)
                {
                    _memoryHits++;
                    flights.Found[i] = held;
                }
                else if (_flights.TryGetValue(key, out TaskCompletionSource<byte[]?>? flight))
                {
                    _sharedFlights++;
                    flights.Elsewhere.Add((i, flight.Task));
                }
                else
                {
                    _flights.Add(key, new TaskCompletionSource<byte[]?>(TaskCreationOptions.RunContinuationsAsynchronously));
                    own.Enqueue(i);
                }
            }
        }

        try
        {
            for (; own.TryPeek(out int place); own.Dequeue())
            {
                Board(flights, place, lookups[place]);
            }
        }
        catch
        {
            flights.Dispose();
            foreach (int place in own)
            {
                EndFlight(lookups[place].Key, null);
            }

            throw;
        }

        return flights;
    }

    /// <summary>Keeps a new condition in memory and in every tier that it belongs to.</summary>
    internal void Keep(ConditionLookup lookup, byte[] condition)
    {
        foreach (IConditionTier tier in _tiers)
        {
            if (tier.KeepsAll || lookup.KeepOnDisk)
            {
                tier.Write(lookup.Key, condition);
            }
        }

        lock (_gate)
        {
            _misses++;
            _madeAgain += _made.Add(lookup.Key) ? 0 : 1;
            _memory.Add(lookup.Key, condition);
        }
    }

    internal void EndFlight(ConditionKey key, byte[]? condition)
    {
        TaskCompletionSource<byte[]?>? flight;
        lock (_gate)
        {
            _flights.Remove(key, out flight);
        }

        flight?.SetResult(condition);
    }

    private void Board(ConditionFlights flights, int place, ConditionLookup lookup)
    {
        byte[]? condition = ReadTiers(lookup.Key);
        if (condition is not null || _board is null)
        {
            Take(condition, right: null);
            return;
        }

        IDisposable? right = _board.TryTake(lookup.Key);
        if (right is null)
        {
            flights.Elsewhere.Add((place, null));
            EndFlight(lookup.Key, null);
            return;
        }

        try
        {
            condition = ReadTiers(lookup.Key); // another process may have landed it between the first look and the right
        }
        catch
        {
            right.Dispose();
            throw;
        }

        Take(condition, right);

        void Take(byte[]? found, IDisposable? right)
        {
            if (found is null)
            {
                flights.AddOwn(place, lookup, right);
                return;
            }

            flights.Found[place] = found;
            right?.Dispose();
            EndFlight(lookup.Key, found);
        }
    }

    private byte[]? ReadTiers(ConditionKey key)
    {
        foreach (IConditionTier tier in _tiers)
        {
            if (Read(tier, key) is { } condition)
            {
                return condition;
            }
        }

        return null;
    }

    private byte[]? Read(IConditionTier tier, ConditionKey key)
    {
        byte[]? condition = tier.TryRead(key, out bool isCorrupt);
        lock (_gate)
        {
            _corruptEntries += isCorrupt ? 1 : 0;
            if (condition is not null)
            {
                _tierHits[tier.Name] = _tierHits.GetValueOrDefault(tier.Name) + 1;
                _memory.Add(key, condition);
            }
        }

        return condition;
    }

    private long BytesOf(string name) => _tiers.Where(tier => tier.Name == name).Sum(tier => tier.Bytes);
}
