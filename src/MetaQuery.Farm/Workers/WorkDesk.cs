namespace MetaQuery.Farm;

/// <summary>All that a worker process holds: items on their way to a slot, batches in the slots, results on their way out.</summary>
/// <remarks>Thread-safe. Says how much to lease, hands batches to the slots, and cancels those that are of no use any more.</remarks>
internal sealed partial class WorkDesk
{
    private readonly object _gate = new();
    private readonly WorkerOptions _options;
    private readonly WorkPool _pool;
    private readonly Dictionary<string, HeldItem> _held = [];
    private readonly HashSet<RunningBatch> _running = [];
    private readonly LeaseCalls _calls = new();
    private readonly AsyncPulse _changed = new();
    private WorkRoles _dry;
    private int _fetching;
    private int _looking;
    private bool _isPaused;
    private bool _isShut;

    /// <param name="options">Of the worker.</param>
    /// <param name="batchSize">Rows of a batch, until an image says otherwise.</param>
    public WorkDesk(WorkerOptions options, int batchSize) => (_options, _pool) = (options, new WorkPool(options, batchSize));

    /// <summary>Ends with the next change: ask for it, then look, then wait.</summary>
    public Task Changed => _changed.Next;

    /// <summary>Nothing more is begun.</summary>
    public bool IsShut => Read(() => _isShut);

    /// <summary>Nothing is held and nothing is being asked for.</summary>
    public bool IsEmpty => Read(() => _held.Count == 0 && _calls.IsEmpty);

    /// <summary>Every lease that must be kept alive.</summary>
    public IReadOnlyList<Lease> Leases => Read(() => _held.Values.Select(held => held.Lease).ToArray());

    /// <summary>Whether the queue had no more the last time.</summary>
    public bool IsDry(WorkRoles role) => Read(() => _dry.HasFlag(role));

    /// <summary>Begins a call for work.</summary>
    /// <param name="role">One of the two.</param>
    /// <param name="interactiveOnly">A call beside the usual one, for when there is no room for others.</param>
    /// <returns>Null for no call now.</returns>
    public LeaseCall? BeginLease(WorkRoles role, bool interactiveOnly = false)
    {
        lock (_gate)
        {
            int room = role == WorkRoles.Dit ? _pool.RoomForImages - _fetching : _pool.RoomForPrompts - _looking;
            int interactive = _pool.RoomForInteractive(role) - (role == WorkRoles.Dit ? 0 : _looking);
            bool takesNone = _isPaused || _isShut || !HasFreeableSlot || IsRestingNow(role);
            room = takesNone ? 0 : !interactiveOnly ? room : room > 0 ? 0 : interactive;
            room = room > 0 ? Math.Min(room, RoomForOutcomes(role)) : 0;
            return room > 0 ? _calls.Begin(role, interactiveOnly, room) : null;
        }
    }

    /// <summary>Ends a call for work.</summary>
    /// <param name="call">Which.</param>
    /// <param name="leases">What it gave; nothing also where it failed.</param>
    /// <returns>The items, held from now on. The doubtful ones are of a job that was withdrawn meanwhile: before they were leased, or after.</returns>
    public (IReadOnlyList<HeldItem> Held, IReadOnlyList<HeldItem> Doubtful) EndLease(LeaseCall call, IReadOnlyList<Lease> leases)
    {
        lock (_gate)
        {
            IReadOnlySet<string> withdrawn = _calls.End(call);
            if (!call.IsInteractiveOnly)
            {
                _dry = leases.Count == 0 ? _dry | call.Role : _dry & ~call.Role;
            }

            HeldItem[] held = [.. leases.Select(Hold)];
            HeldItem[] doubtful = [.. held.Where(item => item.Item is DenoiseItem image && withdrawn.Contains(image.JobId))];
            if (_held.Values.Select(item => item.Item).OfType<DenoiseItem>().Select(image => image.BatchSize).DefaultIfEmpty(0).Max() is > 0 and var largest)
            {
                _pool.BatchSize = largest;
            }

            Change();
            return (held, doubtful);
        }
    }

    /// <summary>Holds an item whatever else is held: one that runs alone.</summary>
    public HeldItem HoldAlone(Lease lease)
    {
        lock (_gate)
        {
            return Hold(lease);
        }
    }

    /// <summary>An item is ready for a slot.</summary>
    /// <returns>False where nothing is begun any more, or not for a while: it must be given back.</returns>
    public bool TryPool(HeldItem item)
    {
        lock (_gate)
        {
            EndFetching(item);
            bool isBegun = !_isShut && !_failureRests.ContainsKey(item.Item.Role);
            if (!item.IsGone && isBegun)
            {
                _pool.Add(item);
            }

            Change();
            return item.IsGone || isBegun;
        }
    }

    /// <summary>An image needs no slot: it is not waited for any more.</summary>
    public void StopFetching(HeldItem item) => Set(() => EndFetching(item));

    /// <summary>A prompt that somebody else encodes now: it is looked at again after a while.</summary>
    /// <returns>False where it must be given back.</returns>
    public bool TryPutOff(HeldItem item)
    {
        lock (_gate)
        {
            if (!item.IsGone && !_isShut)
            {
                item.Batch = null;
                _pool.PutOff(item);
            }

            return item.IsGone || !_isShut;
        }
    }

    public IReadOnlyList<HeldItem> TakePutOff()
    {
        lock (_gate)
        {
            IReadOnlyList<HeldItem> items = _pool.TakePutOff();
            foreach (HeldItem item in items)
            {
                BeginFetching(item); // else they would leave room for more, each time they are looked at
            }

            return items;
        }
    }

    /// <summary>Waits, on a slot's thread, for what it does next.</summary>
    /// <returns>A batch, to be ended by <see cref="EndBatch"/>; null when the slot is to end.</returns>
    public RunningBatch? NextBatch()
    {
        lock (_gate)
        {
            while (true)
            {
                if (Choose() is { } rows)
                {
                    return Begin(rows);
                }

                if (_isShut)
                {
                    return null;
                }

                Monitor.Wait(_gate);
            }
        }
    }

    /// <summary>A slot is done with a batch; what it made of it is still on its way.</summary>
    public void EndBatch(RunningBatch batch)
    {
        lock (_gate)
        {
            _running.Remove(batch);
            foreach (HeldItem row in batch.Rows.Where(row => row.Batch == batch))
            {
                row.Batch = null;
            }

            Change(); // other slots may have waited for the half that this one had
        }

        batch.Dispose();
    }

    /// <summary>An item's report was taken, or cannot be taken any more.</summary>
    public void Close(HeldItem item)
    {
        lock (_gate)
        {
            EndFetching(item);
            _held.Remove(item.Lease.Token);
            Change();
        }
    }

    /// <summary>Takes nothing more, until <see cref="Resume"/>; what is held is made.</summary>
    public void Pause() => Set(() => _isPaused = true);

    public void Resume() => Set(() => _isPaused = false);

    /// <summary>Whether a slot may still come to take something: not where all hang in calls that did not end when they were told to.</summary>
    public bool CanServe => Read(() => HasFreeableSlot);

    private bool HasFreeableSlot => _running.Count < _options.Slots || _running.Count(batch => batch.IsStuck(_options.LeaseTime)) < _options.Slots;

    /// <summary>Items whose outcomes may still gather here while they cannot be sent: two batches a slot, the results of which fit in memory.</summary>
    private int RoomForOutcomes(WorkRoles role) =>
        (2 * _options.Slots * (role == WorkRoles.Dit ? _pool.BatchSize : _options.EncodeBatchSize))
        - _held.Values.Count(held => held.IsSettled && held.Item.Role == role);

    private HeldItem Hold(Lease lease)
    {
        var held = new HeldItem(lease);
        _held.Add(lease.Token, held);
        BeginFetching(held);
        return held;
    }

    private void BeginFetching(HeldItem item) => CountFetching(item, 1);

    private void EndFetching(HeldItem item) => CountFetching(item, 0);

    private void CountFetching(HeldItem item, int now)
    {
        int change = now - (item.IsFetching ? 1 : 0);
        (_fetching, _looking) = item.Item is DenoiseItem ? (_fetching + change, _looking) : (_fetching, _looking + change);
        item.IsFetching = now > 0;
    }

    /// <summary>Batches that did not stop a lease's time after they were told to.</summary>
    public IReadOnlyList<RunningBatch> Stuck => Read(() => _running.Where(batch => batch.IsStuck(_options.LeaseTime)).ToArray());

    /// <summary>What a batch computes: prompts of it that were put off are not its any more.</summary>
    public IReadOnlyList<HeldItem> RowsOf(RunningBatch batch) => Read(() => batch.Rows.Where(row => row.Batch == batch).ToArray());

    private IReadOnlyList<HeldItem>? Choose()
    {
        bool isDry = _dry.HasFlag(WorkRoles.Dit) || IsRestingNow(WorkRoles.Dit);
        bool canAsk = _options.Roles.HasFlag(WorkRoles.Dit) && !isDry && !_isPaused && !_isShut;
        bool isClosed = _options.EncodeWindow is not null && (_isPaused || _isShut); // what a turn waits for does not come then
        WorkRoles busy = _running.Where(batch => !batch.IsStuck(_options.LeaseTime)).Aggregate(WorkRoles.None, (roles, batch) => roles | batch.Role);
        return _pool.Choose(isDry || isClosed, moreMayCome: _fetching > 0 || (canAsk && _pool.RoomForImages > 0), _dry.HasFlag(WorkRoles.Mllm) || isClosed || IsRestingNow(WorkRoles.Mllm), busy);
    }

    private RunningBatch Begin(IReadOnlyList<HeldItem> rows)
    {
        var batch = new RunningBatch(rows[0].Item.Role, rows, _options.StallLimit, _options.Clock);
        foreach (HeldItem row in rows)
        {
            row.Batch = batch;
        }

        _running.Add(batch);
        Change();
        return batch;
    }

    private T Read<T>(Func<T> read)
    {
        lock (_gate)
        {
            return read();
        }
    }

    private void Set(Action set)
    {
        lock (_gate)
        {
            set();
            Change();
        }
    }

    private void Change()
    {
        Monitor.PulseAll(_gate);
        _changed.Pulse();
    }
}
