using System.Collections.Concurrent;
using MetaQuery.Data;

namespace MetaQuery.Farm;

/// <content>Starting jobs, ending them, keeping times.</content>
public sealed partial class FarmHead
{
    private const int InteractivePlaces = 16; // beyond the bulk jobs' own, so that many of these lock nobody out

    private readonly ConcurrentDictionary<string, Task> _closing = new(StringComparer.Ordinal);
    private readonly TaskCompletionSource<Exception> _broken = new(TaskCreationOptions.RunContinuationsAsynchronously);

    /// <summary>Completes with an error that the head cannot go on from: its process should end, and a new one will go on with every job.</summary>
    public Task<Exception> Broken => _broken.Task;

    void IDispatcherHost.WorkersChanged() => Wake();

    void IDispatcherHost.Broken(Exception exception) => Break(exception);

    void IDispatcherHost.Reopened(JobSession session)
    {
        Turn(session.JobId, JobSignal.Restarted); // also from where every image had been settled: it is fed again
        Wake();
    }

    void IDispatcherHost.Settled(JobSession session) => Turn(session.JobId, JobSignal.Settled);

    void IDispatcherHost.Finishing(JobSession session)
    {
        session.DrawSheet();
        session.RemoveWork();
    }

    void IDispatcherHost.Completed(JobSession session)
    {
        JobCounts counts = session.Counts;
        lock (_turning) // a job that is asked for again at once must not meet the session that ends
        {
            Turn(session.JobId, JobSignal.Settled);
            Turn(
                session.JobId, counts.Failed > 0 ? JobSignal.FinishedWithErrors : JobSignal.Finished,
                record => record with { Reason = counts.Failed > 0 ? $"{counts.Failed} of {counts.Images} images were given up" : null });
            Close(session);
        }
    }

    void IDispatcherHost.Failed(JobSession session, Exception reason)
    {
        lock (_turning)
        {
            Turn(session.JobId, JobSignal.Failed, record => record with { Reason = reason.Message.ReplaceLineEndings(" ") });
            Close(session, withdraw: true);
        }
    }

    void IDispatcherHost.Journal(IReadOnlyList<FaultRecord> faults) => _board.Journal(faults);

    bool IDispatcherHost.WaitsForDisk(StorageException exception) => true;

    private async Task JobLoopAsync()
    {
        while (!_stop.IsCancellationRequested)
        {
            var round = new Round();
            round.Try(_board.CatchUp);
            await KeepTimesAsync(round).ConfigureAwait(false); // first: what is deleted makes room for what is begun
            LookAtWorkers(round);
            StartJobs(round);
            _roundTrouble = round.Trouble;
            try
            {
                await _wake.WaitAsync(_options.LookEvery, _stop.Token).ConfigureAwait(false);
            }
            catch (OperationCanceledException)
            {
                return;
            }
        }
    }

    /// <summary>Jobs whose lane has lost the last worker of a role that they need wait; those whose lane has both again go on.</summary>
    private void LookAtWorkers(Round round)
    {
        Dictionary<string, WorkRoles> lanes = RolesByLane();
        foreach (JobRecord record in _board.List())
        {
            if (!record.IsFinal && _dispatcher.Find(record.Id) is { } session)
            {
                round.Try(() => LookAtWorkers(record, session, Missing(session, lanes)));
            }
        }
    }

    private void LookAtWorkers(JobRecord record, JobSession session, WorkRoles missing)
    {
        bool canGoOn = CanGoOn(session, missing);
        if (record.State == JobState.Running && !canGoOn)
        {
            _dispatcher.StopFeeding(session);
            Turn(record.Id, JobSignal.WorkersGone, job => job with { Reason = WaitReason(job, missing) });
        }
        else if (record.State == JobState.Queued && canGoOn)
        {
            Feed(session);
        }
        else if (record.State == JobState.Queued)
        {
            Wait(record, WaitReason(record, missing));
        }
    }

    private static WorkRoles Missing(JobSession session, Dictionary<string, WorkRoles> lanes) => WorkRoles.Both & ~lanes.GetValueOrDefault(session.Lane);

    private static bool CanGoOn(JobSession session, WorkRoles missing) =>
        missing == WorkRoles.None || (missing == WorkRoles.Mllm && session.HasImagesInWork); // these need no more conditions

    /// <summary>Opens the jobs whose turn is next: per tenant and class one after the other, the next as soon as the one before runs out of images to hand out.</summary>
    private void StartJobs(Round round)
    {
        List<JobRecord> waiting = [.. _board.List().Where(
            record => record.State == JobState.Queued && _dispatcher.Find(record.Id) is null && !_closing.ContainsKey(record.Id))];
        bool hasIdle = true;
        foreach (JobRecord record in waiting.OrderByDescending(record => record.Priority))
        {
            bool isFull = _dispatcher.OpenCount >= _options.MaxOpenJobs + (record.Priority == JobPriority.Interactive ? InteractivePlaces : 0);
            if (_stop.IsCancellationRequested)
            {
                return;
            }

            if (isFull && !(hasIdle && (hasIdle = CloseIdle())))
            {
                round.Try(() => Wait(record, "waits for its turn: as many jobs are open as may be"));
                continue;
            }

            StorageException? refusal = null;
            round.Try(() => round.Meet(refusal = Start(record)));
            if (refusal is not null)
            {
                return; // one disk has them all: the rest is tried with the next round
            }
        }
    }

    /// <returns>What the disk refused, to be tried again; null where it is begun, or waits for something else.</returns>
    private StorageException? Start(JobRecord record)
    {
        if (LaneFor(record, out WorkRoles missing) is not { } lane)
        {
            Wait(record, WaitReason(record, missing));
            return null;
        }

        if (!_dispatcher.HasRoom(record.Tenant, record.Priority))
        {
            Wait(record, "waits for its turn: a job of its tenant before it is not handed out yet");
            return null;
        }

        if (record.Lane is null)
        {
            if (Turn(record.Id, JobSignal.WorkersGone, job => job with { Lane = lane, Reason = null }) is not { State: JobState.Queued } begun)
            {
                return null;
            }

            record = begun;
        }

        StorageException? refusal = Open(record);
        if (_dispatcher.Find(record.Id) is { } session)
        {
            Feed(session);
        }

        return refusal;
    }

    private void Wait(JobRecord record, string reason)
    {
        if (record.Reason != reason)
        {
            Turn(record.Id, JobSignal.WorkersGone, job => job with { Reason = reason });
        }
    }

    /// <summary>Paused jobs, and jobs whose lane has no workers, keep their places only while nobody wants them: one that goes on is opened again.</summary>
    private bool CloseIdle()
    {
        Dictionary<string, WorkRoles> lanes = RolesByLane();
        lock (_turning)
        {
            foreach (JobRecord record in _board.List().Where(record => record.State is JobState.Paused or JobState.Queued))
            {
                if (_dispatcher.Find(record.Id) is { } session && (record.State == JobState.Paused || !CanGoOn(session, Missing(session, lanes))))
                {
                    Close(session, withdraw: true);
                    return true;
                }
            }
        }

        return false;
    }

    private void Feed(JobSession session)
    {
        lock (_turning) // a job that is paused meanwhile must not be fed
        {
            if (_dispatcher.Find(session.JobId) == session && Turn(session.JobId, JobSignal.Started, job => job with { Reason = null }) is { State: JobState.Running })
            {
                _dispatcher.Feed(session);
            }
        }
    }

    private async Task WithdrawAsync(JobSession session, CancellationToken cancellationToken)
    {
        try
        {
            await _dispatcher.WithdrawAsync(session, cancellationToken).ConfigureAwait(false);
        }
        catch (WorkQueueException)
        {
            session.TakeAllBack(); // the queue is away: what comes of these items later is refused or changes nothing
        }
    }

    /// <summary>Lets a job's session go, once nobody is at it.</summary>
    private void Close(JobSession session, bool withdraw = false)
    {
        var closed = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        _closing[session.JobId] = closed.Task; // before the session goes: nobody opens the job's folder until it is let go
        _dispatcher.Remove(session);
        _ = Task.Run(async () =>
        {
            try
            {
                if (withdraw)
                {
                    await WithdrawAsync(session, CancellationToken.None).ConfigureAwait(false);
                }

            }
            finally
            {
                session.Dispose();
                _closing.TryRemove(session.JobId, out _);
                closed.SetResult();
                Wake();
            }
        });
    }
}
