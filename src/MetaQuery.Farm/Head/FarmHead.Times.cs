using System.Collections.Concurrent;

using MetaQuery.Data;

namespace MetaQuery.Farm;

/// <content>Deadlines, retention, events.</content>
public sealed partial class FarmHead
{
    private readonly ConcurrentDictionary<string, bool> _leftovers = new(StringComparer.Ordinal); // folders to remove that could not be yet

    /// <summary>Deadlines and the retention rule.</summary>
    private async Task KeepTimesAsync(Round round)
    {
        foreach (string path in _leftovers.Keys)
        {
            RemoveFolder(path);
        }

        DateTimeOffset now = _clock.GetUtcNow();
        foreach (JobRecord record in _board.List())
        {
            if (!record.IsFinal && record.Deadline <= now)
            {
                round.Try(() => EndLate(record));
            }
            else if (ExpiryOf(record) <= now && _board.Find(record.Id) is { IsFinal: true })
            {
                await round.TryAsync(() => ForgetAsync(record, "it was kept as long as the retention rule says")).ConfigureAwait(false);
            }
        }
    }

    private void EndLate(JobRecord record)
    {
        Turn(record.Id, JobSignal.DeadlinePassed, job => job with { Reason = $"its deadline {record.Deadline:O} has passed" });
        if (_dispatcher.Find(record.Id) is { } session && _board.Find(record.Id) is { IsFinal: true })
        {
            Close(session, withdraw: true);
        }
    }

    private DateTimeOffset? ExpiryOf(JobRecord record)
    {
        TimeSpan? kept = record.Kind == JobKind.Request ? _options.KeepRequests : _options.KeepDataSets;
        return record.IsFinal && kept is { } time ? record.FinishedAt + time : null;
    }

    /// <summary>Deletes a job that has ended, with all it left.</summary>
    /// <exception cref="StorageException">That could not be written down: it is still there, though maybe without its files.</exception>
    private async Task ForgetAsync(JobRecord record, string reason)
    {
        await _closing.GetValueOrDefault(record.Id, Task.CompletedTask).ConfigureAwait(false);
        bool isDeleted;
        try
        {
            isDeleted = TryDelete();
        }
        catch (StorageException exception) when (exception.IsTransient)
        {
            RemoveFolder(_folder.OutPath(record.Id)); // a full disk: its own space is what it is written down in
            isDeleted = TryDelete();
        }

        if (!isDeleted)
        {
            return;
        }

        _options.Log.JobDeleted(record.Id, record.Tenant, reason);
        _dispatcher.ForgetJob(record.Id);
        if (_events.TryRemove(record.Id, out EventStream? stream))
        {
            stream.End();
        }

        _pictures.Release(_folder.JobPath(record.Id));
        RemoveFolder(_folder.JobPath(record.Id));

        bool TryDelete()
        {
            lock (_turning)
            {
                if (_board.Find(record.Id) is not { IsFinal: true } now)
                {
                    return false; // it was asked for again, or deleted, meanwhile
                }

                _board.Delete(now);
                return true;
            }
        }
    }

    /// <summary>Removes a folder that is no job's any more. One that cannot be removed yet, such as NFS keeps while a file of it is open, is tried again at each look and by the next head.</summary>
    private void RemoveFolder(string path)
    {
        try
        {
            if (Directory.Exists(path))
            {
                Directory.Delete(path, recursive: true);
            }

            _leftovers.TryRemove(path, out _);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            _leftovers[path] = true;
        }
    }

    private void SetAside(string path)
    {
        string lost = Path.Combine(_folder.FullPath, "lost");
        try
        {
            Directory.CreateDirectory(lost);
            Directory.Move(path, Path.Combine(lost, $"{Path.GetFileName(path)}-{_epoch}"));
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw StorageException.From(exception, path);
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
                else if (stream.Watchers == 0 && _board.Find(jobId) is { IsFinal: true })
                {
                    _events.TryRemove(jobId, out _); // who asks now gets the end, which needs no stream
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
