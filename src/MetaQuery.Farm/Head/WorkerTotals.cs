namespace MetaQuery.Farm;

/// <summary>Workers' own counters added up so that the sum never falls: workers come, go, and count from 0 again.</summary>
internal sealed class WorkerTotals
{
    private const int MostKnown = 10_000; // a worker's id is new at each start: those long gone are forgotten

    private static readonly ConditionCacheCounters Nothing = new(0, 0, 0, 0, 0, 0, 0, 0);

    private readonly Lock _gate = new();
    private readonly Dictionary<string, (WorkerStatus Status, long Look)> _known = new(StringComparer.Ordinal);
    private ConditionCacheCounters _cache = Nothing;
    private long _refused;
    private long _look;

    /// <summary>Adds what these workers have counted since they were last seen.</summary>
    /// <param name="live">All that are there now.</param>
    public void Take(IReadOnlyList<WorkerView> live)
    {
        lock (_gate)
        {
            _look++;
            ConditionCacheCounters sum = _cache with { MemoryBytes = 0, DiskBytes = 0, RedisBytes = 0 };
            foreach (WorkerView worker in live)
            {
                WorkerStatus? before = _known.TryGetValue(worker.Info.Id, out (WorkerStatus Status, long Look) known) ? known.Status : null;
                sum = Add(sum, before?.Cache ?? Nothing, worker.Status.Cache);
                _refused += Since(before?.RefusedReports ?? 0, worker.Status.RefusedReports);
                _known[worker.Info.Id] = (worker.Status, _look);
            }

            _cache = sum;
            if (_known.Count > MostKnown)
            {
                foreach (string id in _known.OrderBy(worker => worker.Value.Look).Take(_known.Count - (MostKnown / 2)).Where(worker => worker.Value.Look < _look).Select(worker => worker.Key).ToList())
                {
                    _known.Remove(id);
                }
            }
        }
    }

    public (ConditionCacheCounters Cache, long RefusedReports) Read()
    {
        lock (_gate)
        {
            return (_cache, _refused);
        }
    }

    private static ConditionCacheCounters Add(ConditionCacheCounters sum, ConditionCacheCounters before, ConditionCacheCounters now) => new(
        sum.MemoryHits + Since(before.MemoryHits, now.MemoryHits), sum.DiskHits + Since(before.DiskHits, now.DiskHits),
        sum.Misses + Since(before.Misses, now.Misses), sum.SharedFlights + Since(before.SharedFlights, now.SharedFlights),
        sum.Evictions + Since(before.Evictions, now.Evictions), sum.CorruptEntries + Since(before.CorruptEntries, now.CorruptEntries),
        sum.MemoryBytes + now.MemoryBytes, sum.DiskBytes + now.DiskBytes)
    {
        RedisHits = sum.RedisHits + Since(before.RedisHits, now.RedisHits),
        RedisBytes = Math.Max(sum.RedisBytes, now.RedisBytes), // all speak of the same server
        MadeAgain = sum.MadeAgain + Since(before.MadeAgain, now.MadeAgain),
        RedisEvictions = sum.RedisEvictions + Since(before.RedisEvictions, now.RedisEvictions),
        DiskEvictions = sum.DiskEvictions + Since(before.DiskEvictions, now.DiskEvictions),
    };

    // a counter that fell began anew
    private static long Since(long before, long now) => now >= before ? now - before : now;
}
