using System.Collections.Concurrent;

namespace MetaQuery.Farm;

/// <summary>The jobs of one lane, in fair order.</summary>
internal sealed class FeedLane(string name, TimeProvider clock)
{
    private readonly Lock _gate = new();
    private readonly FairScheduler<DenoiseItem> _fair = new();
    private readonly List<JobSession> _fed = [];

    public string Name { get; } = name;

    /// <summary>Images reported.</summary>
    public RateMeter Rate { get; } = new(clock);

    /// <summary>When what waits was fed: oldest first.</summary>
    private readonly Queue<(long Timestamp, long Items)> _fedAt = new();
    private long _fedItems;

    /// <summary>Age of the oldest item that waits, as of the last <see cref="Waits"/>.</summary>
    public TimeSpan Lag { get; private set; }

    /// <summary>So many items wait.</summary>
    public void Waits(long items)
    {
        while (_fedAt.TryPeek(out (long Timestamp, long Items) oldest) && _fedItems - oldest.Items >= items)
        {
            _fedItems -= _fedAt.Dequeue().Items;
        }

        Lag = _fedAt.TryPeek(out (long Timestamp, long Items) first) ? clock.GetElapsedTime(first.Timestamp) : TimeSpan.Zero;
    }

    public void WasFed(long items)
    {
        _fedAt.Enqueue((clock.GetTimestamp(), items));
        _fedItems += items;
    }

    /// <summary>Encode items to feed again.</summary>
    public ConcurrentQueue<EncodeItem> EncodeAgain { get; } = new();

    public IReadOnlyList<JobSession> Fed
    {
        get
        {
            lock (_gate)
            {
                return [.. _fed];
            }
        }
    }

    public void Add(JobSession session, double weight, long order)
    {
        lock (_gate)
        {
            if (!_fed.Contains(session))
            {
                _fair.SetWeight(session.Tenant, weight);
                _fair.Add(session, session.Tenant, session.Priority, order);
                _fed.Add(session);
            }
        }
    }

    /// <summary>Takes tenants' weights as they now stand.</summary>
    public void Weigh(Func<string, double> weightOf)
    {
        lock (_gate)
        {
            foreach (string tenant in _fed.Select(session => session.Tenant).Distinct(StringComparer.Ordinal))
            {
                _fair.SetWeight(tenant, weightOf(tenant));
            }
        }
    }

    public void Remove(JobSession session)
    {
        lock (_gate)
        {
            if (_fed.Remove(session))
            {
                _fair.Remove(session);
            }
        }
    }

    public DenoiseItem? Next()
    {
        lock (_gate)
        {
            return _fair.TryNext(out DenoiseItem? item) ? item : null;
        }
    }
}
