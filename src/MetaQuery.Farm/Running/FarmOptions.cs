namespace MetaQuery.Farm;

/// <summary>How a job is run: nothing here changes a byte of its output.</summary>
public sealed record FarmOptions
{
    /// <summary>OS threads that encode and denoise, each with its own halves over shared weights.</summary>
    public int Slots { get; init; } = 1;

    /// <summary>Prompts per encoder call: an encoder sorts them into batches of like length, which more prompts fill better.</summary>
    public int EncodeBatchSize { get; init; } = 16;

    /// <summary>Bytes of conditions held in memory.</summary>
    public long CacheMemoryBytes { get; init; } = 256L << 20;

    /// <summary>Bytes of conditions held on disk.</summary>
    public long CacheDiskBytes { get; init; } = 4L << 30;

    /// <summary>A folder shared between jobs that keeps every condition; null keeps only those the job needs again, in its own folder.</summary>
    public string? CacheFolder { get; init; }

    /// <summary>Go on although this machine's numerics are not the ones the job began with: the bytes may then differ.</summary>
    public bool AllowOtherNumerics { get; init; }

    /// <summary>Try samples again that an earlier run gave up.</summary>
    public bool RetryFailed { get; init; }

    /// <summary>Pictures on the contact sheet, at most.</summary>
    public int ContactSheetImages { get; init; } = 48;

    public TimeProvider Clock { get; init; } = TimeProvider.System;
}
