namespace MetaQuery.Farm;

/// <summary>An item that this process holds: from its lease until its report was taken, or until it is gone. Changed under the desk's lock.</summary>
internal sealed class HeldItem(Lease lease)
{
    private int _isSettled;

    public Lease Lease { get; } = lease;

    public WorkItem Item => Lease.Item;

    /// <summary>Withdrawn, or lost to others: whatever is made of it is of no use.</summary>
    public bool IsGone { get; set; }

    /// <summary>Of an image: its conditions are being fetched.</summary>
    public bool IsFetching { get; set; }

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
    private readonly long _start;
    private int _cause;

    /// <param name="role">What it needs.</param>
    /// <param name="rows">Items of one role and, for images, of one shape.</param>
    /// <param name="limit">How long it may take.</param>
    /// <param name="clock">Tells when that is over.</param>
    public RunningBatch(WorkRoles role, IReadOnlyList<HeldItem> rows, TimeSpan limit, TimeProvider clock)
    {
        (Role, Rows, Limit, _clock, _start) = (role, rows, limit, clock, clock.GetTimestamp());
        _timer = clock.CreateTimer(_ => Cancel(CancelCause.TimedOut), null, limit < LongestTimer ? limit : Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
    }

    public WorkRoles Role { get; }

    public IReadOnlyList<HeldItem> Rows { get; }

    public TimeSpan Limit { get; }

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

    /// <summary>Whether it goes on long after its time was over: it does not look at its token.</summary>
    public bool IsStuck(TimeSpan grace) => Cause == CancelCause.TimedOut && _clock.GetElapsedTime(_start) > Limit + grace;

    public void Dispose() => _timer.Dispose(); // the source itself holds nothing: it has no timer and its wait handle goes with it
}
