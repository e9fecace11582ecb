using System.Collections.Concurrent;
using MetaQuery.Data;

namespace MetaQuery.Farm;

/// <summary>What a dispatcher tells its host. Called on the dispatcher's own threads, one at a time per job.</summary>
internal interface IDispatcherHost
{
    /// <summary>Every image of a job is settled; its last shards are about to be written. May come again.</summary>
    void Settled(JobSession session);

    /// <summary>A job's shards are complete: what is left to do in its own folder. A <see cref="StorageException"/> that waiting may mend makes it come again, any other ends the job.</summary>
    void Finishing(JobSession session);

    /// <summary>A job is done. A <see cref="StorageException"/> makes it come again.</summary>
    void Completed(JobSession session);

    /// <summary>A job cannot go on, for a reason that is not one image's.</summary>
    void Failed(JobSession session, Exception reason);

    /// <summary>Faults to write down durably before the reports that told of them are confirmed. A <see cref="StorageException"/> makes it come again.</summary>
    void Journal(IReadOnlyList<FaultRecord> faults);

    /// <summary>The dispatcher met an error of its own and has stopped.</summary>
    void Broken(Exception exception);

    /// <summary>Workers came or went.</summary>
    void WorkersChanged();

    /// <summary>Records of a job's spool were damaged: their images are to be made again, also where all had been settled. A <see cref="StorageException"/> makes it come again.</summary>
    void Reopened(JobSession session);

    /// <summary>The disk refuses. Returns whether to wait and try again; otherwise the dispatcher gives <see cref="Failed"/> for all its jobs.</summary>
    bool WaitsForDisk(StorageException exception);
}

/// <summary>Moves work between open jobs and the queue: feeds each lane in fair order, takes reports in, takes back what dead workers hold.</summary>
internal sealed partial class Dispatcher : IAsyncDisposable
{
    private readonly IWorkFeed _feed;
    private readonly IWorkerRegistry _workers;
    private readonly IDispatcherHost _host;
    private readonly HeadOptions _options;
    private readonly FaultLedger _ledger;
    private readonly ConditionDesk _desk = new();
    private readonly ConcurrentDictionary<string, JobSession> _sessions = new(StringComparer.Ordinal);
    private readonly ConcurrentDictionary<string, FeedLane> _lanes = new(StringComparer.Ordinal);
    private readonly CancellationTokenSource _stop = new();
    private readonly SemaphoreSlim _hungry = new(0, 1);
    private readonly SemaphoreSlim _feeding = new(1, 1);
    private readonly List<Task> _loops = [];
    private readonly WorkerTotals _workerTotals = new();
    private volatile IReadOnlyList<WorkerView> _live = [];
    private readonly Troubles _troubles;

    /// <param name="feed">The queue.</param>
    /// <param name="workers">Who is there.</param>
    /// <param name="host">Hears of the jobs' ends.</param>
    /// <param name="ledger">Faults known from before; from now on this dispatcher's alone.</param>
    /// <param name="options">How deep to feed, how often to look.</param>
    public Dispatcher(IWorkFeed feed, IWorkerRegistry workers, IDispatcherHost host, FaultLedger ledger, HeadOptions options)
    {
        _feed = feed;
        _workers = workers;
        _host = host;
        _ledger = ledger;
        _options = options;
        _troubles = new Troubles(options.Log);
    }

    /// <summary>What keeps work from going on, in one line; null where nothing does.</summary>
    public string? Trouble => Fault is { } fault ? $"{fault.GetType().Name}: {fault.Message.ReplaceLineEndings(" ")}" : _troubles.Now;

    /// <summary>Workers with a live heartbeat, as last looked at.</summary>
    public IReadOnlyList<WorkerView> Workers => _live;

    public (long Made, long MadeAgain) Passes => _desk.Passes;

    /// <summary>Images committed, and given up, since it started.</summary>
    public (long Written, long Failed) Images => (Interlocked.Read(ref _written), Interlocked.Read(ref _failed));

    /// <summary>What workers counted since this started, also those that are gone; bytes held are of those that are there.</summary>
    public (ConditionCacheCounters Cache, long RefusedReports) WorkerCounts => _workerTotals.Read();

    /// <summary>Records of spools that were damaged since they were written, and whose images were made again.</summary>
    public long DamagedRecords => Interlocked.Read(ref _damaged);

    public long ReclaimedItems => Interlocked.Read(ref _reclaimed);

    public int OpenCount => _sessions.Count;

    /// <summary>Age of the oldest item that waits in a lane's queue, as last looked at.</summary>
    public TimeSpan FeedLag => _lanes.Values.Select(lane => lane.Lag).DefaultIfEmpty().Max();

    public IReadOnlyCollection<string> LaneNames => [.. _lanes.Keys];

    /// <summary>Looks once at the queue that a head before this one left; jobs are then added, and told what of theirs is still leased.</summary>
    public async Task RecoverAsync(CancellationToken cancellationToken)
    {
        IReadOnlyList<WorkItem> leased = await _feed.RecoverAsync(cancellationToken).ConfigureAwait(false);
        foreach (IGrouping<string, DenoiseItem> job in leased.OfType<DenoiseItem>().GroupBy(item => item.JobId, StringComparer.Ordinal))
        {
            _leasedBefore[job.Key] = [.. job];
        }

        _live = await _workers.ListAsync(cancellationToken).ConfigureAwait(false);
    }

    public void Start()
    {
        _leasedBefore.Clear(); // a job that opens later has been told nothing of what became of them: its items are made again
        foreach (Func<Task> loop in (Func<Task>[])[FeedLoopAsync, ReceiveLoopAsync, LookLoopAsync])
        {
            _loops.Add(Task.Run(() => GuardAsync(loop)));
        }
    }

    /// <summary>An error that no loop expects: nothing is fed or committed any more. Null while there is none.</summary>
    public Exception? Fault { get; private set; }

    public JobSession? Find(string jobId) => _sessions.GetValueOrDefault(jobId);

    /// <summary>Takes a job in: its reports are committed from now on. <see cref="Feed"/> makes its items be handed out.</summary>
    public void Add(JobSession session)
    {
        if (_leasedBefore.Remove(session.JobId, out IReadOnlyList<DenoiseItem>? leased))
        {
            foreach (DenoiseItem item in leased)
            {
                session.MarkOut(item);
            }
        }

        if (!_sessions.TryAdd(session.JobId, session))
        {
            throw new InvalidOperationException($"job {session.JobId} is open already");
        }

        lock (_ledger)
        {
            foreach (string id in session.Retried.Select(position => $"d/{session.JobId}/{position}").Where(id => _ledger.Find(id) is not null))
            {
                _faults.Add(_ledger.Pardon(id));
            }
        }

        Finish(session); // what was complete before is told as if it had just come to be
    }

    /// <summary>A job's items are handed out from now on.</summary>
    public void Feed(JobSession session)
    {
        LaneOf(session).Add(session, _options.Tenants.RulesOf(session.Tenant).Weight, session.Order);
        Hurry();
    }

    /// <summary>A job's items are handed out no more; what is out stays out.</summary>
    public void StopFeeding(JobSession session) => LaneOf(session).Remove(session);

    /// <summary>A job's items are handed out no more, and what is out is called back: its workers stop within a step.</summary>
    /// <exception cref="WorkQueueException">The queue cannot be reached; the items that are out will be refused when they come.</exception>
    public async Task WithdrawAsync(JobSession session, CancellationToken cancellationToken)
    {
        LaneOf(session).Remove(session);
        await _feeding.WaitAsync(cancellationToken).ConfigureAwait(false); // what was taken from it must be in the queue before it is called back
        try
        {
            await _feed.WithdrawAsync(session.JobId, cancellationToken).ConfigureAwait(false);
        }
        finally
        {
            _feeding.Release();
        }

        session.TakeAllBack();
    }

    /// <summary>A job leaves; its session is the caller's to dispose of.</summary>
    public void Remove(JobSession session)
    {
        LaneOf(session).Remove(session);
        _sessions.TryRemove(KeyValuePair.Create(session.JobId, session)); // not one that was opened after it
        session.Leave();
    }

    /// <summary>Whether a tenant's open jobs of a class leave something to do for one more: their last images are being handed out.</summary>
    public bool HasRoom(string tenant, JobPriority priority)
    {
        long left = 0;
        long target = long.MaxValue;
        foreach (JobSession session in _sessions.Values)
        {
            FeedLane lane = LaneOf(session);
            IReadOnlyList<JobSession> fed = lane.Fed;
            if (session.Tenant == tenant && session.Priority == priority && fed.Contains(session))
            {
                left += session.ImagesNotHandedOut;
                target = Math.Min(target, TargetDepth(lane, fed));
            }
        }

        return left < target;
    }

    /// <summary>A job is gone, with the faults of all its images.</summary>
    public void ForgetJob(string jobId)
    {
        lock (_ledger)
        {
            _faults.AddRange(_ledger.ForgetJob(jobId));
        }
    }

    /// <summary>Stops all loops; what was received but not confirmed comes again to the next head.</summary>
    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync().ConfigureAwait(false);
        await Task.WhenAll(_loops).ConfigureAwait(false);
        await Task.WhenAll(_finishers.Keys).ConfigureAwait(false);
        _stop.Dispose(); // the semaphores are left: a job that is being let go may still ask for them, and they hold nothing of the system's
    }

    private async Task GuardAsync(Func<Task> loop)
    {
        try
        {
            await loop().ConfigureAwait(false);
        }
        catch (OperationCanceledException) when (_stop.IsCancellationRequested)
        {
            // told to stop while it waited
        }
#pragma warning disable CA1031 // kept for whoever hosts this: readiness tells it, and a service ends by it
        catch (Exception exception)
#pragma warning restore CA1031
        {
            Fault = exception;
            _host.Broken(exception);
            await _stop.CancelAsync().ConfigureAwait(false);
        }
    }

    private FeedLane LaneOf(JobSession session) => _lanes.GetOrAdd(session.Lane, name => new FeedLane(name, _options.Clock));

    private void Hurry()
    {
        try
        {
            if (_hungry.CurrentCount == 0)
            {
                _hungry.Release();
            }
        }
        catch (SemaphoreFullException)
        {
            // another thread was first
        }
    }

    private async Task PauseAsync(TimeSpan time, CancellationToken orUntil = default)
    {
        using var either = CancellationTokenSource.CreateLinkedTokenSource(_stop.Token, orUntil);
        try
        {
            await Task.Delay(time, _options.Clock, either.Token).ConfigureAwait(false);
        }
        catch (OperationCanceledException)
        {
            // the loop looks at the token itself
        }
    }
}
