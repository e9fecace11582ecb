namespace MetaQuery.Farm;

/// <summary>Who is there, in memory: for workers in the head's own process. Thread-safe.</summary>
/// <param name="silence">How long a worker may be silent before it counts as gone: a lease's time.</param>
/// <param name="clock">For heartbeats' ages.</param>
public sealed class MemoryWorkerRegistry(TimeSpan silence, TimeProvider? clock = null) : IWorkerRegistry
{
    private readonly Lock _gate = new();
    private readonly TimeProvider _clock = clock ?? TimeProvider.System;
    private readonly Dictionary<string, Entry> _workers = new(StringComparer.Ordinal);
    private (string Images, string Conditions)? _required;

    public ValueTask JoinAsync(WorkerInfo worker, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(worker);
        cancellationToken.ThrowIfCancellationRequested();
        lock (_gate)
        {
            if (_required is { } required)
            {
                Require("image model", worker.Images.ModelRevision, required.Images);
                Require("condition model", worker.Conditions.ModelRevision, required.Conditions);
            }

            _workers[worker.Id] = new Entry(worker) { LastWord = _clock.GetTimestamp() };
        }

        return ValueTask.CompletedTask;

        void Require(string what, string theirs, string ours)
        {
            if (theirs != ours)
            {
                throw new ModelMismatchException($"worker {worker.Id} has the {what} of revision {theirs}, the head's jobs are for revision {ours}: start it with the head's model");
            }
        }
    }

    /// <exception cref="WorkQueueException">The worker has not joined, or has left.</exception>
    public ValueTask<bool> HeartbeatAsync(string worker, WorkerStatus status, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(status);
        cancellationToken.ThrowIfCancellationRequested();
        lock (_gate)
        {
            if (!_workers.TryGetValue(worker, out Entry? entry))
            {
                throw new WorkQueueException($"worker {worker} is not known here: it must join first");
            }

            entry.LastWord = _clock.GetTimestamp();
            entry.Status = status;
            return ValueTask.FromResult(entry.IsAskedToDrain);
        }
    }

    public ValueTask LeaveAsync(string worker, CancellationToken cancellationToken)
    {
        cancellationToken.ThrowIfCancellationRequested();
        lock (_gate)
        {
            _workers.Remove(worker);
        }

        return ValueTask.CompletedTask;
    }

    /// <summary>Those that were heard of within the silence allowed, oldest first. A worker that was silent is back with its next heartbeat.</summary>
    public ValueTask<IReadOnlyList<WorkerView>> ListAsync(CancellationToken cancellationToken)
    {
        cancellationToken.ThrowIfCancellationRequested();
        lock (_gate)
        {
            return ValueTask.FromResult<IReadOnlyList<WorkerView>>(
            [
                .. _workers.Values.Select(entry => new WorkerView(entry.Info, entry.Status, _clock.GetElapsedTime(entry.LastWord)))
                    .Where(view => view.SinceHeartbeat <= silence)
                    .OrderBy(view => view.Info.StartedAt).ThenBy(view => view.Info.Id, StringComparer.Ordinal),
            ]);
        }
    }

    public ValueTask<bool> DrainAsync(string worker, CancellationToken cancellationToken)
    {
        cancellationToken.ThrowIfCancellationRequested();
        lock (_gate)
        {
            if (!_workers.TryGetValue(worker, out Entry? entry))
            {
                return ValueTask.FromResult(false);
            }

            entry.IsAskedToDrain = true;
            return ValueTask.FromResult(true);
        }
    }

    /// <summary>Holds for workers that join from now on.</summary>
    public ValueTask RequireModelAsync(string modelRevision, string conditionRevision, CancellationToken cancellationToken)
    {
        cancellationToken.ThrowIfCancellationRequested();
        lock (_gate)
        {
            _required = (modelRevision, conditionRevision);
        }

        return ValueTask.CompletedTask;
    }

    private sealed class Entry(WorkerInfo info)
    {
        public WorkerInfo Info { get; } = info;
        public WorkerStatus Status { get; set; } =
            new(WorkerState.Running, [], 0, 0, 0, 0, 0, new ConditionCacheCounters(0, 0, 0, 0, 0, 0, 0, 0));
        public long LastWord { get; set; }
        public bool IsAskedToDrain { get; set; }
    }
}
