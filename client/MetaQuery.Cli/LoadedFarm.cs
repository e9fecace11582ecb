using MetaQuery.Farm;
using MetaQuery.Silo;

namespace MetaQuery.Cli;

/// <summary>A model folder, loaded, and the farm that runs in this process over it.</summary>
internal sealed class LoadedFarm : IDisposable
{
    private readonly LocalModel model;

    private LoadedFarm(LocalModel model) => (this.model, Embedded) = (model, new EmbeddedFarm(model));

    public EmbeddedFarm Embedded { get; }

    /// <param name="dtype">float32, bfloat16, or null for the faster on this machine and device.</param>
    /// <param name="threads">Threads of each slot.</param>
    /// <param name="device">cpu, cuda or cuda:1.</param>
    /// <param name="memoryBudgetBytes">What the process may take; null for no limit.</param>
    /// <param name="conditionCacheBytes">Of that, what the condition cache may hold.</param>
    public static LoadedFarm Load(string folder, string? dtype, int threads, string device, long? memoryBudgetBytes, long conditionCacheBytes) =>
        new(LocalModel.Load(folder, dtype, threads, device: device, memoryBudgetBytes: memoryBudgetBytes, conditionCacheBytes: conditionCacheBytes));

    public void Dispose() => model.Dispose();
}
