namespace MetaQuery.Client;

/// <param name="Host">Null for those who are no admins, as is the process id; their slots name their own jobs only.</param>
/// <param name="Roles"><c>mllm</c>, <c>dit</c> or both.</param>
/// <param name="State"><c>running</c>, <c>draining</c> or <c>drained</c>.</param>
/// <param name="Lane">Workers of one lane give the same bits.</param>
/// <param name="BusyShare">Share of the slots' time spent computing, over the last half minute: 0 to 1.</param>
/// <param name="SecondsSinceHeartbeat">Age of its last word.</param>
public sealed record Worker(
    string Id, string Object, string? Host, int? ProcessId, IReadOnlyList<string> Roles, string Device, string Lane, string Model, string ModelRevision, string State,
    DateTimeOffset StartedAt, double SecondsSinceHeartbeat, double ImagesPerSecond, double ConditionsPerSecond, long ImagesMade, long ConditionsMade,
    double BusyShare, IReadOnlyList<WorkerSlot> Slots);

/// <param name="Activity"><c>idle</c>, <c>encode</c> or <c>denoise</c>.</param>
/// <param name="Rows">Prompts or images in the batch.</param>
public sealed record WorkerSlot(string Activity, int Rows, IReadOnlyList<string> Jobs, DateTimeOffset Since);

public sealed record WorkerList(string Object, IReadOnlyList<Worker> Data);

/// <summary>The condition cache, summed over workers, and what the encoder had to make. Evictions without a name are memory's.</summary>
public sealed record CacheReport(
    string Object, long MemoryHits, long DiskHits, long Misses, long SharedFlights, long Evictions, long CorruptEntries, long MemoryBytes, long DiskBytes, long Passes,
    long PassesAgain, long RedisHits = 0, long RedisBytes = 0, long RedisEvictions = 0, long DiskEvictions = 0);

/// <param name="MaxQueuedImages">Null for no limit.</param>
/// <param name="ImagesPerDay">Null for no limit.</param>
public sealed record Usage(string Object, string Tenant, bool Admin, long QueuedImages, long ImagesToday, long? MaxQueuedImages, long? ImagesPerDay);

/// <param name="Status"><c>ok</c>, <c>ready</c> or <c>not_ready</c>.</param>
public sealed record Health(string Status, string? Reason = null);
