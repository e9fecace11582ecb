using MetaQuery.Data;

namespace MetaQuery.Farm;

/// <summary>A finished sample's three files.</summary>
/// <param name="Position">Its place in the whole job, from 0.</param>
/// <param name="Image">The picture's file.</param>
/// <param name="Caption">The .txt, UTF-8.</param>
/// <param name="Json">The .json, UTF-8.</param>
public readonly record struct FinishedSample(
    long Position, ReadOnlyMemory<byte> Image, ReadOnlyMemory<byte> Caption, ReadOnlyMemory<byte> Json);

/// <summary>Where a job's samples are committed, by position: committing one twice changes nothing. Thread-safe, but for <see cref="FinishShards"/>.</summary>
internal interface ISampleStore : IDisposable
{
    /// <summary>Samples committed.</summary>
    long WrittenCount { get; }

    /// <summary>Samples given up.</summary>
    long FailedCount { get; }

    /// <summary>Every sample is committed or given up, every shard written.</summary>
    bool IsComplete { get; }

    /// <summary>Whether <see cref="FinishShards"/> has something to do.</summary>
    bool HasFullShard { get; }

    /// <summary>Positions of failures that were forgotten when it was opened.</summary>
    IReadOnlyList<long> Retried { get; }

    /// <summary>The fingerprints its images were made with; the first is the job's own.</summary>
    IReadOnlyList<string> Numerics { get; }

    /// <summary>Committed or given up: nothing is left to do for it.</summary>
    bool IsSettled(long position);

    /// <returns>Whether it was new.</returns>
    /// <exception cref="StorageException">It could not be written.</exception>
    bool Add(FinishedSample sample);

    /// <returns>Whether it was new.</returns>
    /// <exception cref="StorageException">It could not be written.</exception>
    bool Fail(long position, FailedSample failure);

    /// <summary>Makes what was added last through a loss of power (through the end of this process it lasts already).</summary>
    /// <exception cref="StorageException">It could not be written.</exception>
    void Flush();

    /// <summary>Writes the shards whose turn it is and whose samples are all there. For one thread at a time; others may add meanwhile.</summary>
    /// <returns>Positions whose records were damaged since they were written: they are not settled any more.</returns>
    /// <exception cref="StorageException">A shard could not be written; to be tried again.</exception>
    IReadOnlyList<long> FinishShards();

    /// <summary>After the last shard: the contact sheet.</summary>
    /// <returns>Its path, or null where there is none.</returns>
    /// <exception cref="StorageException">It could not be written; to be tried again.</exception>
    string? DrawSheet();

    /// <summary>Puts a file beside the shards.</summary>
    /// <exception cref="StorageException">It could not be written.</exception>
    void WriteStats(JobState state, JobProgress progress, JobStats stats, int slots);

    /// <summary>The job is done: away with what only an unfinished one needs.</summary>
    void RemoveWork();

    /// <summary>The first failures in key order.</summary>
    IReadOnlyList<FailedSample> ListFailures(int most);

    /// <summary>Unfinished shards that hold something, ascending.</summary>
    IReadOnlyList<long> OpenShards();

    /// <summary>Samples in an unfinished shard, ascending; null where it is none (any more).</summary>
    IReadOnlyList<long>? PositionsIn(long shard);

    /// <summary>A sample of an unfinished shard; null where it is in none, or no more.</summary>
    FinishedSample? TryRead(long position);
}
