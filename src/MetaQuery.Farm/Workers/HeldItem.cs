namespace MetaQuery.Farm;

/// <summary>An item that this process holds: from its lease until its report was taken, or until it is gone. Changed under the desk's lock.</summary>
internal sealed class HeldItem(Lease lease)
{
    private int _isSettled;

    public Lease Lease { get; } = lease;

    public WorkItem Item => Lease.Item;

    /// <summary>Withdrawn, or lost to others: whatever is made of it is of no use.</summary>
    public bool IsGone { get; set; }

    /// <summary>On its way to a slot: an image's conditions are being fetched, or it is being looked whether a prompt's is there.</summary>
    public bool IsFetching { get; set; }

    /// <summary>Whether an outcome was handed over, which may wait to be sent.</summary>
    public bool IsSettled => Volatile.Read(ref _isSettled) != 0;

    /// <summary>Whether an outcome was handed over: the first one counts.</summary>
    public bool TrySettle() => Interlocked.Exchange(ref _isSettled, 1) == 0;

    /// <summary>The batch that computes it.</summary>
    public RunningBatch? Batch { get; set; }

    /// <summary>Of an image, once they are fetched.</summary>
    public PromptConditions Conditions { get; set; }
}

/// <summary>Why a batch was cancelled.</summary>
internal enum CancelCause { None, AllGone, Stopped, TimedOut }

/// <summary>A batch in a slot.</summary>
internal sealed class RunningBatch : IDisposable
{
    private static readonly TimeSpan LongestTimer = TimeSpan.FromDays(49); // what .NET's timers take

    private readonly CancellationTokenSource _cancel = new();
    private readonly ITimer _timer;
    private readonly TimeProvider _clock;
    private readonly TimeSpan _limit;
    private readonly bool _isWhole;
    private long _since;
    private int _cause;

    /// <param name="role">What it needs.</param>
    /// <param name="rows">Items of one role and, for images, of one shape, which agree in the time they may take.</param>
    /// <param name="stallLimit">Where they state none: how long it may give no sign of progress.</param>
    /// <param name="clock">Tells when that is over.</param>
    public RunningBatch(WorkRoles role, IReadOnlyList<HeldItem> rows, TimeSpan stallLimit, TimeProvider clock)
    {
        (Role, Rows, _clock, _since) = (role, rows, clock, clock.GetTimestamp());
        TimeSpan? whole = rows[0].Item.Timeout;
        (_limit, _isWhole) = (whole ?? stallLimit, whole is not null);
        _timer = clock.CreateTimer(_ => Cancel(CancelCause.TimedOut), null, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
        SetTimer();
    }

    public WorkRoles Role { get; }

    public IReadOnlyList<HeldItem> Rows { get; }

    /// <summary>Of prompts: the right to make their conditions, which a batch that hangs must not keep.</summary>
    public ConditionFlights? Flights { get; set; }

    public CancellationToken Token => _cancel.Token;

    /// <summary>The first cause counts.</summary>
    public CancelCause Cause => (CancelCause)Volatile.Read(ref _cause);

    public void Cancel(CancelCause cause)
    {
        if (Interlocked.CompareExchange(ref _cause, (int)cause, (int)CancelCause.None) == (int)CancelCause.None)
        {
            _cancel.Cancel();
        }
    }

    /// <summary>What its time-out says of it.</summary>
    public string Lateness => _isWhole ? $"took longer than {_limit:g}" : $"gave no sign of progress for {_limit:g}";

    /// <summary>A step is done, a prompt, a picture: only a batch whose whole time is stated does not begin to count anew.</summary>
    public void Progressed()
    {
        if (!_isWhole && Cause == CancelCause.None)
        {
            Volatile.Write(ref _since, _clock.GetTimestamp());
            SetTimer();
        }
    }

    /// <summary>Whether it goes on long after its time was over: it does not look at its token.</summary>
    public bool IsStuck(TimeSpan grace) => Cause == CancelCause.TimedOut && _clock.GetElapsedTime(Volatile.Read(ref _since)) > _limit + grace;

    private void SetTimer() => _timer.Change(_limit < LongestTimer ? _limit : Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);

    public void Dispose() => _timer.Dispose(); // the source itself holds nothing: it has no timer and its wait handle goes with it
}
