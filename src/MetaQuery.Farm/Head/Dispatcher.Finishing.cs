using System.Collections.Concurrent;
using System.Diagnostics.CodeAnalysis;
using MetaQuery.Data;

namespace MetaQuery.Farm;

/// <content>From the jobs to the disk.</content>
internal sealed partial class Dispatcher
{
    private readonly ConcurrentDictionary<Task, bool> _finishers = new();
    private readonly SemaphoreSlim _journalling = new(1, 1); // reports and looks settle at the same time: a fault is written down once

    /// <summary>Makes last what reports did, and sees what is finished by it.</summary>
    private async Task SettleAsync(HashSet<JobSession> touched)
    {
        foreach (JobSession session in touched)
        {
            await TryOnDiskAsync(() => session.Settle(() => Interlocked.Increment(ref _failed)), session).ConfigureAwait(false);
        }

        await _journalling.WaitAsync(_stop.Token).ConfigureAwait(false);
        try
        {
            await TryOnDiskAsync(JournalFaults).ConfigureAwait(false);
        }
        finally
        {
            _journalling.Release();
        }

        foreach (JobSession session in touched)
        {
            if (session.Hopeless is { } reason)
            {
                await FailAsync(session, new HopelessJobException(reason)).ConfigureAwait(false);
            }
            else
            {
                Finish(session);
            }
        }
    }

    private void JournalFaults()
    {
        FaultRecord[] faults;
        lock (_ledger)
        {
            faults = [.. _faults];
        }

        if (faults.Length > 0)
        {
            _host.Journal(faults);
            lock (_ledger)
            {
                _faults.RemoveRange(0, faults.Length);
            }
        }
    }

    /// <summary>Does what the disk may refuse, until it no longer does: nothing is confirmed or fed meanwhile.</summary>
    /// <param name="action">What to do.</param>
    /// <param name="session">On whose behalf: once it is let go, nobody waits for it.</param>
    /// <param name="isItsOwn">It touches this job's files alone: what waiting does not mend there (a folder that is gone) ends this job, not the others.</param>
    /// <returns>False where it was given up: the job has ended, or is let go.</returns>
    private async Task<bool> TryOnDiskAsync(Action action, JobSession? session = null, bool isItsOwn = true)
    {
        bool waits = false;
        try
        {
            while (!TryOnce(out StorageException? refusal))
            {
                _troubles.DiskRefused(refusal.Message, isFirst: !waits);
                waits = true;
                if (!_host.WaitsForDisk(refusal))
                {
                    foreach (JobSession open in _sessions.Values)
                    {
                        _host.Failed(open, refusal);
                    }

                    return false;
                }

                if (session is not null && isItsOwn && !refusal.IsTransient)
                {
                    await FailAsync(session, refusal).ConfigureAwait(false);
                    return false;
                }

                await PauseAsync(_options.LookEvery, session?.Leaving ?? default).ConfigureAwait(false);
                _stop.Token.ThrowIfCancellationRequested();
                if (session?.Leaving.IsCancellationRequested == true)
                {
                    return false; // its folder is the next head's, or is about to be deleted
                }
            }

            return true;
        }
        finally
        {
            if (waits)
            {
                _troubles.DiskDone();
            }
        }

        bool TryOnce([NotNullWhen(false)] out StorageException? refusal)
        {
            try
            {
                action();
                refusal = null;
                return true;
            }
            catch (StorageException exception)
            {
                refusal = exception;
                return false;
            }
        }
    }

    private Task FailAsync(JobSession session, Exception reason) => TryOnDiskAsync(() => _host.Failed(session, reason), session, isItsOwn: false);

    /// <summary>Writes shards whose samples are all there, beside the loops; tells the job's end.</summary>
    private void Finish(JobSession session)
    {
        if (!session.TryBeginFinishing())
        {
            return;
        }

        Task task = Task.Run(async () =>
        {
            bool isEnd = true;
            try
            {
                isEnd = await FinishAsync(session).ConfigureAwait(false);
            }
            catch (OperationCanceledException) when (_stop.IsCancellationRequested)
            {
                // the next head finishes it
            }
#pragma warning disable CA1031 // whatever it is, it is this job's end and is told with its reason
            catch (Exception exception)
#pragma warning restore CA1031
            {
                await FailAsync(session, exception).ConfigureAwait(false);
            }
            finally
            {
                session.EndFinishing(isEnd);
            }

            Finish(session); // what became full meanwhile
        });
        _finishers.TryAdd(task, true);
        _ = task.ContinueWith(done => _finishers.TryRemove(done, out _), TaskScheduler.Default);
    }

    private async Task<bool> FinishAsync(JobSession session)
    {
        bool isSettled = session.IsSettled;
        if (isSettled)
        {
            await EndFeedingAsync(session).ConfigureAwait(false);
        }

        int damaged = 0;
        await TryOnDiskAsync(() => damaged = session.FinishShards(), session).ConfigureAwait(false);
        if (damaged > 0)
        {
            Interlocked.Add(ref _damaged, damaged);
            _options.Log.RecordsDamaged(session.JobId, damaged);
            await SettleAsync([session]).ConfigureAwait(false); // what cannot be made again is given up again
            await TryOnDiskAsync(() => _host.Reopened(session), session, isItsOwn: false).ConfigureAwait(false);
            Hurry();
        }

        if (!session.IsComplete)
        {
            return false;
        }

        if (!isSettled)
        {
            await EndFeedingAsync(session).ConfigureAwait(false); // the last images came while shards were being written
        }

        if (!await TryOnDiskAsync(() => _host.Finishing(session), session).ConfigureAwait(false))
        {
            return false;
        }

        await TryOnDiskAsync(() => _host.Completed(session), session, isItsOwn: false).ConfigureAwait(false);
        return true;
    }

    private async Task EndFeedingAsync(JobSession session)
    {
        LaneOf(session).Remove(session);
        session.ReadToEnd();
        await TryOnDiskAsync(() => _host.Settled(session), session, isItsOwn: false).ConfigureAwait(false);
    }
}

/// <summary>Nothing of a job succeeded.</summary>
internal sealed class HopelessJobException(string message) : FarmException(message)
{
    public override int ExitCode => ExitCodes.JobFailed;
}
