namespace MetaQuery.Farm;

/// <summary>The queue as a worker sees it: at least once, with leases, heartbeats and fencing.</summary>
/// <remarks>Thread-safe. In memory (<c>MemoryWorkQueue</c>) or Redis Streams (<c>RedisWorkQueue</c>).</remarks>
public interface IWorkQueue
{
    /// <summary>Takes items in the queue's order: interactive before bulk, yet never only interactive while bulk waits.</summary>
    /// <returns>At most <see cref="LeaseRequest.Most"/>; empty when nothing came within <see cref="LeaseRequest.Wait"/>.</returns>
    /// <exception cref="OperationCanceledException">While it waited: then nothing was leased.</exception>
    /// <exception cref="WorkQueueException">The queue cannot be reached; trying again may help.</exception>
    ValueTask<IReadOnlyList<Lease>> LeaseAsync(LeaseRequest request, CancellationToken cancellationToken);

    /// <summary>Takes one item whose holders died. Only for a worker process that holds nothing else and takes nothing else until it has reported.</summary>
    ValueTask<Lease?> LeaseAloneAsync(string worker, string lane, WorkRoles roles, CancellationToken cancellationToken);

    /// <summary>Whether <see cref="LeaseAloneAsync"/> is likely to have something: only then does a busy worker finish what it holds to ask for it.</summary>
    ValueTask<bool> HasAloneAsync(string lane, WorkRoles roles, CancellationToken cancellationToken) => ValueTask.FromResult(true);

    /// <summary>Keeps leases alive.</summary>
    /// <returns>Those that are lost: expired and given to others, or withdrawn. Work on them is wasted.</returns>
    ValueTask<IReadOnlyList<Lease>> RenewAsync(string worker, IReadOnlyList<Lease> leases, CancellationToken cancellationToken);

    /// <summary>Reports, once per lease.</summary>
    /// <returns>Per report whether it was taken: a lease that was lost is refused.</returns>
    ValueTask<IReadOnlyList<bool>> ReportAsync(string worker, IReadOnlyList<WorkReport> reports, CancellationToken cancellationToken);

    /// <summary>Calls back, at once and on any thread, when a job's items are withdrawn: what is being computed for it may stop.</summary>
    IDisposable OnWithdrawn(Action<string> jobId);
}

/// <summary>What a worker asks for.</summary>
/// <param name="Worker">Its name, new for each process.</param>
/// <param name="Lane">Whose items it can do: <see cref="WorkLane"/>.</param>
/// <param name="Role">One of the two roles.</param>
/// <param name="Most">Items wanted.</param>
/// <param name="Wait">How long to wait for the first.</param>
public readonly record struct LeaseRequest(string Worker, string Lane, WorkRoles Role, int Most, TimeSpan Wait)
{
    /// <summary>Only interactive items: for a worker that has enough of the others waiting.</summary>
    public bool IsInteractiveOnly { get; init; }
}

/// <summary>The queue as the head sees it. One head at a time.</summary>
/// <remarks>Thread-safe.</remarks>
public interface IWorkFeed
{
    /// <summary>How long a lease lasts without a heartbeat.</summary>
    TimeSpan LeaseTime { get; }

    /// <summary>Reports that the fence refused, as far as this side of the queue knows.</summary>
    long RefusedReports => 0;

    /// <summary>Appends items, in this order, each to the stream of its lane, role and priority (or to those that run alone).</summary>
    ValueTask FeedAsync(string lane, IReadOnlyList<WorkItem> items, CancellationToken cancellationToken);

    /// <summary>The next reports, in the order they were taken; the same ones again after a restart until they are confirmed.</summary>
    ValueTask<IReadOnlyList<ReceivedReport>> ReceiveAsync(int most, TimeSpan wait, CancellationToken cancellationToken);

    /// <summary>Forgets reports whose effect is on disk.</summary>
    ValueTask ConfirmAsync(IReadOnlyList<ReceivedReport> reports, CancellationToken cancellationToken);

    /// <summary>Takes back what dead workers hold: a lease that no heartbeat renewed in time. The items are out of the queue then; the head decides what becomes of them.</summary>
    ValueTask<IReadOnlyList<WorkItem>> ReclaimAsync(CancellationToken cancellationToken);

    /// <summary>Items that <see cref="ReclaimAsync"/> may have taken back from the dead or may have found reported: the head feeds them again, and holds their end against nobody. Given once.</summary>
    IReadOnlyList<WorkItem> TakeDoubtful() => [];

    /// <summary>For a head that starts: what a head before it left. Waiting items are taken out; leased ones are named and stay with their holders.</summary>
    ValueTask<IReadOnlyList<WorkItem>> RecoverAsync(CancellationToken cancellationToken);

    /// <summary>Takes a job's waiting items out, voids its leases, tells its holders (<see cref="IWorkQueue.OnWithdrawn"/>).</summary>
    ValueTask WithdrawAsync(string jobId, CancellationToken cancellationToken);

    /// <summary>Whether the queue lost what it was fed (a server that came back empty): the head then feeds all open items again.</summary>
    /// <returns>True once per loss.</returns>
    ValueTask<bool> HasLostItemsAsync(CancellationToken cancellationToken);

    /// <summary>What lies in a lane.</summary>
    ValueTask<LaneDepth> DepthAsync(string lane, CancellationToken cancellationToken);
}

/// <summary>Items of a lane, by state. Items that run alone do not count as waiting: no slot works them off.</summary>
public readonly record struct LaneDepth(long WaitingEncode, long WaitingDenoise, long Leased, long UnconfirmedReports);

/// <summary>The queue could not be reached or answered with an error.</summary>
public sealed class WorkQueueException(string message, Exception? inner = null) : FarmException(message, inner)
{
    public override bool IsTransient => true;
    public override int ExitCode => ExitCodes.Unreachable;
}
