namespace MetaQuery.Farm;

/// <summary>A farm that runs on several silos: what its admin sees of them and may ask of them. A farm of another form is none.</summary>
public interface IFarmCluster
{
    Task<IReadOnlyList<SiloView>> ListSilosAsync(CancellationToken cancellationToken);

    /// <summary>Asks a silo to finish what its slots have begun, to give back the rest and to leave.</summary>
    /// <returns>False where there is no such silo.</returns>
    Task<bool> DrainSiloAsync(string silo, CancellationToken cancellationToken);

    /// <summary>Asks a silo to have so many slots, from 0 on.</summary>
    /// <returns>False where there is no such silo.</returns>
    /// <exception cref="JobSpecException">The silo has no role that needs slots, or the number is out of range.</exception>
    Task<bool> ScaleSiloAsync(string silo, int slots, CancellationToken cancellationToken);

    /// <summary>What was set for a tenant; null where what its keys say holds.</summary>
    Task<TenantRules?> GetTenantRulesAsync(string tenant, CancellationToken cancellationToken);

    /// <summary>Sets what a tenant is entitled to, at once and for waiting work too; null gives back what its keys say.</summary>
    /// <exception cref="JobSpecException">A value is out of range.</exception>
    Task SetTenantRulesAsync(string tenant, TenantRules? rules, CancellationToken cancellationToken);
}

/// <summary>A silo as others see it.</summary>
/// <param name="Id">Address with the second it started in: never the same twice.</param>
/// <param name="State"><c>joining</c>, <c>active</c>, <c>leaving</c>, or <c>silent</c> where it is in the cluster and does not answer.</param>
/// <param name="Roles">Of <c>head</c>, <c>mllm</c>, <c>dit</c>.</param>
/// <param name="IsHead">Whether the farm's head runs there.</param>
/// <param name="Slots">In order of their numbers.</param>
/// <param name="Activations">Grains that are active there, by kind.</param>
/// <param name="CpuShare">Of its machine, 0 to 1.</param>
/// <param name="MemoryBytes">Of its process.</param>
/// <param name="Urls">Where its web API listens.</param>
public sealed record SiloView(
    string Id, string Host, int ProcessId, string State, IReadOnlyList<string> Roles, bool IsHead, IReadOnlyList<SiloSlotView> Slots,
    IReadOnlyDictionary<string, int> Activations, double CpuShare, long MemoryBytes, DateTimeOffset? StartedAt, IReadOnlyList<string> Urls);

/// <param name="State"><c>waiting</c> (for a head), <c>running</c>, <c>draining</c> or <c>drained</c>.</param>
/// <param name="Worker">Its id in the list of workers; null while it has none.</param>
/// <param name="Activity"><c>idle</c>, <c>encode</c> or <c>denoise</c>.</param>
/// <param name="BusyShare">Share of the time spent computing, over the last half minute: 0 to 1.</param>
public sealed record SiloSlotView(
    int Index, string State, string? Worker, string Activity, int Rows, double BusyShare, double ImagesPerSecond, long ImagesMade, long ConditionsMade);
