namespace MetaQuery.Farm;

/// <content>Deadlines, retention, events.</content>
public sealed partial class FarmHead
{
    /// <summary>Deadlines and the retention rule.</summary>
    private async Task KeepTimesAsync()
    {
        DateTimeOffset now = _clock.GetUtcNow();
        foreach (JobRecord record in _board.List())
        {
            if (!record.IsFinal && record.Deadline <= now)
            {
                Turn(record.Id, JobSignal.DeadlinePassed, job => job with { Reason = $"its deadline {record.Deadline:O} has passed" });
                if (_dispatcher.Find(record.Id) is { } session && _board.Find(record.Id) is { IsFinal: true })
                {
                    Close(session, withdraw: true);
                }
            }
            else if (ExpiryOf(record) <= now && _board.Find(record.Id) is { IsFinal: true })
            {
                lock (_turning)
                {
                    _board.Delete(record);
                }

                await ForgetAsync(record).ConfigureAwait(false);
            }
        }
    }

    private DateTimeOffset? ExpiryOf(JobRecord record)
    {
        TimeSpan? kept = record.Kind == JobKind.Request ? _options.KeepRequests : _options.KeepDataSets;
        return record.IsFinal && kept is { } time ? record.FinishedAt + time : null;
    }

    /// <summary>What is left of a job that is deleted.</summary>
    private async Task ForgetAsync(JobRecord record)
    {
        await Task.WhenAll(_closing.Values).ConfigureAwait(false);
        _dispatcher.ForgetJob(record.Id);
        if (_events.TryRemove(record.Id, out EventStream? stream))
        {
            stream.End();
        }

        string folder = _folder.JobPath(record.Id);
        if (Directory.Exists(folder))
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    private async Task EventLoopAsync()
    {
        while (!_stop.IsCancellationRequested)
        {
            foreach ((string jobId, EventStream stream) in _events)
            {
                if (stream.Watchers > 0 && _dispatcher.Find(jobId) is { } session && session.TakeNews() is { } news && _board.Find(jobId) is { } record)
                {
                    stream.Publish(news.Count > 0 ? "samples" : "progress", ViewOf(record), news, isLast: false);
                }
            }

            try
            {
                await Task.Delay(_options.EventsEvery, _clock, _stop.Token).ConfigureAwait(false);
            }
            catch (OperationCanceledException)
            {
                return;
            }
        }
    }
}
