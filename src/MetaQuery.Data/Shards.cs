namespace MetaQuery.Data;

/// <summary>How samples are numbered and spread over shards, as img2dataset does it: key = shard number + index in the shard, zero-padded.</summary>
public sealed record ShardLayout
{
    public const int DefaultSamplesPerShard = 10_000;

    public int SamplesPerShard { get; init; } = DefaultSamplesPerShard;

    /// <summary>Digits of the shard number; 5 in img2dataset.</summary>
    public int ShardDigits { get; init; } = 5;

    /// <summary>The layout for a job: 5 digits, more where the job has more than 100,000 shards.</summary>
    public static ShardLayout For(long totalSamples, int samplesPerShard = DefaultSamplesPerShard) => throw new NotImplementedException();

    /// <summary>00000.tar</summary>
    public string ShardName(long shard) => throw new NotImplementedException();

    /// <summary>000000000: the key of the sample at <paramref name="position"/> in the whole job, from 0.</summary>
    public string Key(long position) => throw new NotImplementedException();

    public long ShardOf(long position) => position / SamplesPerShard;
}

/// <summary>One file of a sample.</summary>
/// <param name="Extension">Without its dot: png, txt, json.</param>
/// <param name="Content">The bytes.</param>
public readonly record struct ShardFile(string Extension, ReadOnlyMemory<byte> Content);

/// <summary>What a finished shard is: a line of the manifest.</summary>
public sealed record ShardEntry
{
    public required string Shard { get; init; }

    public required string Sha256 { get; init; }

    public required long ByteLength { get; init; }

    public required int SampleCount { get; init; }

    public required string? FirstKey { get; init; }

    public required string? LastKey { get; init; }

    /// <summary>Samples that belong here and could not be made.</summary>
    public int FailedCount { get; init; }
}

/// <summary>Writes one WebDataset shard: deterministic ustar, to a temporary name, moved to its final name by <see cref="Commit"/>.</summary>
public sealed class WebDatasetShardWriter : IDisposable
{
    /// <exception cref="StorageException">The folder cannot be written to.</exception>
    public WebDatasetShardWriter(string folder, string shardName) => throw new NotImplementedException();

    /// <summary>Appends a sample; its files are written in the order of their extensions.</summary>
    /// <exception cref="ArgumentException">A key not greater than the one before, or a name that tar or WebDataset cannot hold.</exception>
    /// <exception cref="StorageException">The disk is full.</exception>
    public void Add(string key, IReadOnlyList<ShardFile> files) => throw new NotImplementedException();

    /// <summary>Ends the archive, syncs it, moves it to its final name and syncs the folder.</summary>
    public ShardEntry Commit(int failedCount = 0) => throw new NotImplementedException();

    /// <summary>Removes the temporary file unless committed.</summary>
    public void Dispose() => throw new NotImplementedException();
}

/// <summary>A sample read back from a shard.</summary>
public sealed record ShardSample(string Key, IReadOnlyList<ShardFile> Files);

/// <summary>Reads shards written by <see cref="WebDatasetShardWriter"/> or by img2dataset.</summary>
public static class WebDatasetShardReader
{
    /// <exception cref="ShardFormatException">Not a tar file, truncated, or a checksum does not hold.</exception>
    public static IEnumerable<ShardSample> Read(string path) => throw new NotImplementedException();
}

public sealed class ShardFormatException(string message, Exception? inner = null) : Exception(message, inner)
{
    public bool IsTransient => false;
}
