namespace MetaQuery.Farm;

/// <summary>A worker process as others see it.</summary>
/// <param name="Id">New for each process: host, process id and random letters.</param>
/// <param name="Host">The machine's name.</param>
/// <param name="ProcessId">On that machine.</param>
/// <param name="Roles">What it serves.</param>
/// <param name="Slots">Batches at a time.</param>
/// <param name="Device">Such as <c>cpu</c> or <c>cuda:0</c>.</param>
/// <param name="Lane">Its lane.</param>
/// <param name="Conditions">Its encoder, known also where it serves only the other role.</param>
/// <param name="Images">Its denoiser, known likewise.</param>
/// <param name="StartedAt">When it joined.</param>
public sealed record WorkerInfo(
    string Id, string Host, int ProcessId, WorkRoles Roles, int Slots, string Device, string Lane, ConditionIdentity Conditions, ImageModelInfo Images,
    DateTimeOffset StartedAt);

/// <summary>What a worker is doing.</summary>
/// <param name="State">Where it stands.</param>
/// <param name="Slots">Per slot: what it computes now.</param>
/// <param name="ImagesPerSecond">Over the last half minute.</param>
/// <param name="ConditionsPerSecond">Over the last half minute.</param>
/// <param name="ImagesMade">Since it started.</param>
/// <param name="ConditionsMade">Since it started.</param>
/// <param name="BusyShare">Share of the slots' time spent computing, over the last half minute: 0 to 1.</param>
/// <param name="Cache">Its memory tier and what it asked of the others.</param>
public sealed record WorkerStatus(
    WorkerState State, IReadOnlyList<SlotStatus> Slots, double ImagesPerSecond, double ConditionsPerSecond, long ImagesMade, long ConditionsMade,
    double BusyShare, ConditionCacheCounters Cache)
{
    /// <summary>Reports that came too late, since it started: the fence refused them.</summary>
    public long RefusedReports { get; init; }

    /// <summary>Why nothing comes of its work just now, in one line; null where nothing is wrong.</summary>
    public string? Trouble { get; init; }
}

/// <summary>One slot's present work.</summary>
/// <param name="Activity"><c>idle</c>, <c>encode</c> or <c>denoise</c>.</param>
/// <param name="Rows">Prompts or images in the batch.</param>
/// <param name="JobIds">The jobs they belong to.</param>
/// <param name="Since">When the batch began.</param>
public sealed record SlotStatus(string Activity, int Rows, IReadOnlyList<string> JobIds, DateTimeOffset Since);

/// <summary>Where a worker stands. Values are persisted: append-only.</summary>
public enum WorkerState : byte { Running = 1, Draining = 2, Drained = 3 }

/// <summary>A worker with the age of its last word.</summary>
public sealed record WorkerView(WorkerInfo Info, WorkerStatus Status, TimeSpan SinceHeartbeat);

/// <summary>Who is there. In memory, or in Redis.</summary>
public interface IWorkerRegistry
{
    /// <summary>A worker joins.</summary>
    /// <exception cref="ModelMismatchException">The head serves another model revision: the message holds both.</exception>
    ValueTask JoinAsync(WorkerInfo worker, CancellationToken cancellationToken);

    /// <summary>A worker's heartbeat; a worker that is silent for a lease's time counts as gone.</summary>
    /// <returns>Whether the worker is asked to drain.</returns>
    ValueTask<bool> HeartbeatAsync(string worker, WorkerStatus status, CancellationToken cancellationToken);

    /// <summary>A worker leaves.</summary>
    ValueTask LeaveAsync(string worker, CancellationToken cancellationToken);

    ValueTask<IReadOnlyList<WorkerView>> ListAsync(CancellationToken cancellationToken);

    /// <summary>Asks a worker to finish what it has begun, to give back the rest and to leave.</summary>
    /// <returns>False where there is no such worker.</returns>
    ValueTask<bool> DrainAsync(string worker, CancellationToken cancellationToken);

    /// <summary>The head states which model revisions its jobs are for (denoiser's and encoder's).</summary>
    ValueTask RequireModelAsync(string modelRevision, string conditionRevision, CancellationToken cancellationToken);
}
