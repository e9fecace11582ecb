namespace MetaQuery.Farm;

/// <content>How a job's record changes: written down, logged, told.</content>
public sealed partial class FarmHead
{
    /// <summary>Something happened to a job: writes its new state down and tells who watches.</summary>
    /// <returns>The record after it; null where the job is gone. A job that has ended stays as it is.</returns>
    private JobRecord? Turn(string jobId, JobSignal signal, Func<JobRecord, JobRecord>? also = null)
    {
        JobRecord record;
        lock (_turning)
        {
            if (_board.Find(jobId) is not { } before)
            {
                return null;
            }

            if (before.IsFinal)
            {
                return before; // a word that comes late changes nothing: not the reason either
            }

            JobState state = JobLifecycle.After(before.State, signal);
            record = (also?.Invoke(before) ?? before) with { State = state, Counts = CountsOf(before) };
            if (state != before.State || record.Reason != before.Reason || record.Lane != before.Lane || record.RetriesFailed != before.RetriesFailed)
            {
                record = Stamp(before, record);
                bool isFoundAgain = signal is JobSignal.Restarted or JobSignal.Started or JobSignal.WorkersGone or JobSignal.Settled
                    && record.Lane == before.Lane && record.RetriesFailed == before.RetriesFailed;
                if (isFoundAgain)
                {
                    _board.PutOrRemember(record);
                }
                else if (signal is JobSignal.DeadlinePassed)
                {
                    _board.PutFirmly(record); // gives rest, as a command to cancel does
                }
                else
                {
                    _board.Put(record);
                }

                Note(before, record);
            }
        }

        Tell(record);
        return record;
    }

    private void Note(JobRecord before, JobRecord after)
    {
        if (after.State != before.State)
        {
            JobCounts counts = CountsOf(after);
            _options.Log.JobChanged(
                after.Id, after.Tenant, JobLifecycle.NameOf(after.State), JobLifecycle.NameOf(before.State), counts.Written, counts.Images, counts.Failed, after.Reason ?? "no reason");
        }
    }

    private JobRecord Stamp(JobRecord before, JobRecord record) => record with
    {
        StartedAt = record.State == JobState.Running ? record.StartedAt ?? _clock.GetUtcNow() : record.StartedAt,
        FinishedAt = record.IsFinal ? (before.IsFinal ? before.FinishedAt : _clock.GetUtcNow()) : null,
    };

    private void Tell(JobRecord record)
    {
        if (_events.TryGetValue(record.Id, out EventStream? stream))
        {
            IReadOnlyList<long> news = _dispatcher.Find(record.Id)?.TakeNews() ?? [];
            stream.Publish("state", ViewOf(record), news, record.IsFinal);
        }
    }
}
