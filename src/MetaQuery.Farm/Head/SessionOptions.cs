namespace MetaQuery.Farm;

/// <summary>How a job is opened.</summary>
internal sealed record SessionOptions
{
    public required string JobId { get; init; }
    public string Tenant { get; init; } = "";
    public JobPriority Priority { get; init; }

    /// <summary>Of its tenant's jobs in its class, those with smaller ones go first: the time of submission.</summary>
    public long Order { get; init; }

    /// <summary>Longest time of one batch; null for the worker's limit.</summary>
    public TimeSpan? TaskTimeout { get; init; }

    /// <summary>Keep every condition on disk, not only those that the job needs again.</summary>
    public bool KeepAllConditions { get; init; }
    public bool AllowOtherNumerics { get; init; }

    /// <summary>Forget failures of earlier runs.</summary>
    public bool RetryFailed { get; init; }
    public int ContactSheetImages { get; init; } = 48;

    /// <summary>Prompts read but not handed out, at most: what of conditions lies in the cache unused.</summary>
    public int MostPromptsAhead { get; init; } = 4096;

    /// <summary>Items given up, without a single success, after which the job is hopeless.</summary>
    public int HopelessAfter { get; init; } = 50;
    public TimeProvider Clock { get; init; } = TimeProvider.System;
}
