using MetaQuery.Silo.Web;

namespace MetaQuery.Silo.Hosting;

/// <summary>How <c>./farm serve</c> runs.</summary>
public sealed record ServeOptions
{
    /// <summary>The head's data folder.</summary>
    public required string DataFolder { get; init; }

    /// <summary>A model folder, such as models/nano.</summary>
    public required string ModelFolder { get; init; }

    /// <summary>float32, bfloat16, or null for the faster on this machine.</summary>
    public string? Dtype { get; init; }

    /// <summary>Threads of each slot.</summary>
    public int Threads { get; init; } = 1;

    /// <summary>cpu, cuda or cuda:1.</summary>
    public string Device { get; init; } = LocalModel.Cpu;

    /// <summary>Slots in this process.</summary>
    public int Slots { get; init; } = 1;

    /// <summary>What the process may take; null for no limit. Where it does not hold both halves of the model, they take turns.</summary>
    public long? MemoryBudgetBytes { get; init; }

    /// <summary>Of the condition cache's memory tier.</summary>
    public long CacheMemoryBytes { get; init; } = 512L << 20;

    /// <summary>Of its disk tier.</summary>
    public long CacheDiskBytes { get; init; } = 8L << 30;

    /// <summary>How long a finished data set is kept; null for ever.</summary>
    public TimeSpan? KeepDataSets { get; init; }

    /// <summary>Images of all tenants that may be queued at a time.</summary>
    public long? MaxQueuedImages { get; init; }

    /// <summary>Questions answered at a time; 0 for none. Null: one, but none in a head over Redis, which would have to load the language model for it.</summary>
    public int? ChatSlots { get; init; }

    public WebOptions Web { get; init; } = new();
}
