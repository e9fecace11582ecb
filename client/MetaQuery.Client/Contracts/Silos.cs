namespace MetaQuery.Client;

/// <summary>A silo of a farm that is a cluster.</summary>
/// <param name="Id">Address with the second it started in: names one process for good.</param>
/// <param name="State"><c>joining</c>, <c>active</c>, <c>leaving</c>, or <c>silent</c>: in the cluster, and without an answer.</param>
/// <param name="Roles">Of <c>head</c>, <c>mllm</c>, <c>dit</c>.</param>
/// <param name="Head">Whether the farm's head runs there.</param>
/// <param name="Activations">Grains that are active there, by kind.</param>
/// <param name="CpuShare">Of its machine's processors: 0 to 1.</param>
/// <param name="MemoryBytes">Of its process.</param>
/// <param name="Urls">Where its web API listens.</param>
public sealed record Silo(
    string Id, string Object, string Host, int ProcessId, string State, IReadOnlyList<string> Roles, bool Head, IReadOnlyList<SiloSlot> Slots,
    IReadOnlyDictionary<string, int> Activations, double CpuShare, long MemoryBytes, DateTimeOffset? StartedAt, IReadOnlyList<string> Urls);

/// <param name="State"><c>waiting</c> (for a head), <c>running</c>, <c>draining</c> or <c>drained</c>.</param>
/// <param name="Worker">Its id in the list of workers; null while it has none.</param>
/// <param name="Activity"><c>idle</c>, <c>encode</c> or <c>denoise</c>.</param>
/// <param name="BusyShare">Share of its time spent computing, over the last half minute: 0 to 1.</param>
public sealed record SiloSlot(
    int Index, string State, string? Worker, string Activity, int Rows, double BusyShare, double ImagesPerSecond, long ImagesMade, long ConditionsMade);

/// <param name="Cluster">Whether the farm is a cluster at all.</param>
public sealed record SiloList(string Object, bool Cluster, IReadOnlyList<Silo> Data);
