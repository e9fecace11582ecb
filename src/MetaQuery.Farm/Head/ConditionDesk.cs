namespace MetaQuery.Farm;

/// <summary>Sees to it that a condition is asked for once in the whole farm, however many prompts, jobs and tenants want it. Thread-safe, no clock.</summary>
/// <param name="mostKnown">Conditions remembered as made; what falls out is asked for again, and a worker then finds it in the cache.</param>
internal sealed class ConditionDesk(int mostKnown = 200_000)
{
    private readonly Lock _gate = new();
    private readonly Dictionary<ConditionKey, Pending> _pending = [];
    private readonly HashSet<ConditionKey> _known = [];
    private readonly Queue<ConditionKey> _knownOldestFirst = new();
    private readonly HashSet<ConditionKey> _lost = [];
    private (long Made, long MadeAgain) _passes;

    /// <summary>Conditions made by encoders, and of these: made before and lost since.</summary>
    public (long Made, long MadeAgain) Passes
    {
        get
        {
            lock (_gate)
            {
                return _passes;
            }
        }
    }

    public int PendingCount
    {
        get
        {
            lock (_gate)
            {
                return _pending.Count;
            }
        }
    }

    /// <summary>A job wants a condition.</summary>
    /// <param name="jobId">The job.</param>
    /// <param name="lane">Its lane.</param>
    /// <param name="item">What would make the condition.</param>
    /// <returns>What to do: nothing, for it is there; wait, for it is being made; or feed this item.</returns>
    public ConditionAnswer Ask(string jobId, string lane, EncodeItem item)
    {
        lock (_gate)
        {
            if (_known.Contains(item.Key))
            {
                return ConditionAnswer.IsThere;
            }

            if (_pending.TryGetValue(item.Key, out Pending? pending))
            {
                pending.JobIds.Add(jobId);
                return ConditionAnswer.IsBeingMade;
            }

            _pending.Add(item.Key, new Pending(lane, item, jobId));
            return ConditionAnswer.IsToBeMade;
        }
    }

    /// <summary>A worker has found or made a condition.</summary>
    /// <returns>The jobs that wait for it.</returns>
    public IReadOnlyCollection<string> Made(ConditionKey key, bool wasMade)
    {
        lock (_gate)
        {
            bool isAgain = _lost.Remove(key);
            if (_known.Add(key))
            {
                _knownOldestFirst.Enqueue(key);
                while (_knownOldestFirst.Count > mostKnown)
                {
                    _known.Remove(_knownOldestFirst.Dequeue());
                }
            }
            else
            {
                isAgain = true;
            }

            if (wasMade)
            {
                _passes = (_passes.Made + 1, _passes.MadeAgain + (isAgain ? 1 : 0));
            }

            _pending.Remove(key, out Pending? pending);
            return pending?.JobIds ?? [];
        }
    }

    /// <summary>A condition that was there is there no more.</summary>
    public void Lost(ConditionKey key)
    {
        lock (_gate)
        {
            if (_known.Remove(key))
            {
                _lost.Add(key);
            }
        }
    }

    /// <summary>A condition cannot be made.</summary>
    /// <returns>The jobs that wait for it.</returns>
    public IReadOnlyCollection<string> Failed(ConditionKey key)
    {
        lock (_gate)
        {
            return _pending.Remove(key, out Pending? pending) ? pending.JobIds : [];
        }
    }

    /// <summary>The lane in which a condition is being made; null where nobody waits for it.</summary>
    public string? LaneOf(ConditionKey key)
    {
        lock (_gate)
        {
            return _pending.GetValueOrDefault(key)?.Lane;
        }
    }

    /// <summary>All that is being made, to feed it again where a queue lost it.</summary>
    public IReadOnlyList<EncodeItem> ListPending()
    {
        lock (_gate)
        {
            return [.. _pending.Values.Select(pending => pending.Item)];
        }
    }

    private sealed class Pending(string lane, EncodeItem item, string jobId)
    {
        public string Lane { get; } = lane;
        public EncodeItem Item { get; } = item;
        public HashSet<string> JobIds { get; } = [jobId];
    }
}

/// <summary>What becomes of a job's wish for a condition.</summary>
internal enum ConditionAnswer { IsThere, IsBeingMade, IsToBeMade }
