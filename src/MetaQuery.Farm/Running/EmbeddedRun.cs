using System.Runtime.ExceptionServices;
using MetaQuery.Data;
using MetaQuery.Imaging;

namespace MetaQuery.Farm;

/// <summary>One job with its head and its workers in this process: the farm's own dispatcher, queue and worker host, without a journal.</summary>
internal sealed class EmbeddedRun : IDispatcherHost
{
    // in one process nobody outlives the others: a lease that runs out would only take work from a process that was stopped for a while
    private static readonly TimeSpan LeaseTime = TimeSpan.FromDays(1);
    private static readonly TimeSpan ReportEvery = TimeSpan.FromMilliseconds(100);

    private readonly JobSession _session;
    private readonly FarmOptions _options;
    private readonly ConditionCache _cache;
    private readonly WorkerHost _worker;
    private readonly MemoryWorkQueue _queue;
    private readonly MemoryWorkerRegistry _workers;
    private readonly IProgress<JobProgress>? _progress;
    private readonly Lock _reporting = new();
    private readonly long _start;
    private Dispatcher? _dispatcher;
    private readonly TaskCompletionSource<Exception?> _ended = new(TaskCreationOptions.RunContinuationsAsynchronously);

    /// <param name="session">The job; the caller's to dispose of.</param>
    /// <param name="model">Loaded with both halves.</param>
    /// <param name="cache">Of conditions.</param>
    /// <param name="pictures">Of its prompts.</param>
    /// <param name="options">How to run it.</param>
    /// <param name="progress">Told about ten times a second.</param>
    public EmbeddedRun(
        JobSession session, IFarmModel model, ConditionCache cache, IPictureSource pictures, FarmOptions options, IProgress<JobProgress>? progress)
    {
        _session = session;
        _options = options;
        _cache = cache;
        _progress = progress;
        _start = options.Clock.GetTimestamp();
        _queue = new MemoryWorkQueue(LeaseTime, options.Clock);
        _workers = new MemoryWorkerRegistry(LeaseTime, options.Clock);
        _worker = new WorkerHost(model, _queue, _workers, cache, new WorkerOptions
        {
            Slots = options.Slots,
            EncodeBatchSize = options.EncodeBatchSize,
            LeaseTime = LeaseTime,
            StallLimit = LeaseTime,
            EndsOnStorageFault = true,
            Pictures = pictures,
            Clock = options.Clock,
        });
    }

    /// <summary>Runs the job to its end, to a cancellation or to a fault that is not one image's.</summary>
    /// <returns>Whether all images are settled and all shards written; false when cancelled.</returns>
    /// <exception cref="FarmException">What ended the run; what was made until then is committed.</exception>
    /// <exception cref="PromptFileException">The prompt file changed while the job ran.</exception>
    /// <exception cref="StorageException">The disk refused.</exception>
    public async Task<bool> RunAsync(CancellationToken cancellationToken)
    {
        using var stopWorker = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        Task working = Task.CompletedTask;
        var dispatcher = new Dispatcher(_queue, _workers, this, new FaultLedger(), new HeadOptions
        {
            DataFolder = "",
            LookEvery = ReportEvery,
            Clock = _options.Clock,
        });
        _dispatcher = dispatcher;
        await using (dispatcher.ConfigureAwait(false))
        {
            dispatcher.Add(_session);
            if (!_session.WasComplete)
            {
                dispatcher.Feed(_session);
                dispatcher.Start();
                working = _worker.RunAsync(stopWorker.Token);
            }

            try
            {
                await WatchAsync(working, cancellationToken).ConfigureAwait(false);
            }
            finally
            {
                await stopWorker.CancelAsync().ConfigureAwait(false);
                await Task.WhenAny(working).ConfigureAwait(false); // its fault is told below
            }

            if (!_ended.Task.IsCompleted)
            {
                await CommitWhatIsLeftAsync().ConfigureAwait(false);
            }
        }

        if (_ended.Task is { IsCompleted: true, Result: { } fault })
        {
            ExceptionDispatchInfo.Throw(fault);
        }

        await working.ConfigureAwait(false);
        return _session.IsComplete;
    }

    /// <summary>What this run did.</summary>
    public JobStats Stats()
    {
        WorkerCounters worker = _worker.Counters;
        TimeSpan elapsed = _options.Clock.GetElapsedTime(_start);
        long images = _session.WrittenNow;
        var stages = new Dictionary<string, TimeSpan>(worker.StageTimes, StringComparer.Ordinal);
        foreach ((string stage, TimeSpan time) in _session.Stages.Totals)
        {
            stages[stage] = time;
        }

        stages["idle"] = _worker.SlotTimes.Aggregate(TimeSpan.Zero, (sum, slot) => sum + slot.Idle);
        return new JobStats(
            images, images / Math.Max(elapsed.TotalSeconds, 1e-3), elapsed, worker.Conditions, worker.EncoderCalls, _cache.Counters, worker.DenoiseBatches,
            worker.FailedBatches, stages.OrderBy(stage => stage.Key, StringComparer.Ordinal).ToDictionary());
    }

    /// <summary>Tells how far the job is, now.</summary>
    public JobProgress Report(JobState state)
    {
        lock (_reporting)
        {
            JobProgress now = _session.Progress(state);
            _progress?.Report(now);
            return now;
        }
    }

    void IDispatcherHost.Settled(JobSession session)
    {
    }

    void IDispatcherHost.Finishing(JobSession session)
    {
        // whoever runs it draws the sheet once its slots have ended
    }

    void IDispatcherHost.Completed(JobSession session) => _ended.TrySetResult(null);

    void IDispatcherHost.Failed(JobSession session, Exception reason) => _ended.TrySetResult(reason);

    void IDispatcherHost.Journal(IReadOnlyList<FaultRecord> faults)
    {
    }

    void IDispatcherHost.WorkersChanged()
    {
    }

    void IDispatcherHost.Reopened(JobSession session) => _dispatcher?.Feed(session);

    void IDispatcherHost.Broken(Exception exception) => _ended.TrySetResult(exception);

    bool IDispatcherHost.WaitsForDisk(StorageException exception) => false;

    private async Task WatchAsync(Task working, CancellationToken cancellationToken)
    {
        while (!_ended.Task.IsCompleted && !(working.IsCompleted && !_session.WasComplete) && !cancellationToken.IsCancellationRequested)
        {
            Report(JobState.Running);
            Task due = Task.Delay(ReportEvery, _options.Clock, cancellationToken);
            await Task.WhenAny(_session.WasComplete ? [_ended.Task, due] : [_ended.Task, working, due]).ConfigureAwait(false);
        }
    }

    /// <summary>After the workers' end: what they reported last is committed before the run ends.</summary>
    private async Task CommitWhatIsLeftAsync()
    {
        while (!_ended.Task.IsCompleted && (await _queue.DepthAsync(_session.Lane, CancellationToken.None).ConfigureAwait(false)).UnconfirmedReports > 0)
        {
            await Task.WhenAny(_ended.Task, Task.Delay(TimeSpan.FromMilliseconds(1), _options.Clock)).ConfigureAwait(false);
        }
    }
}
