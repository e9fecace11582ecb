namespace MetaQuery.Data;

/// <summary>How samples are numbered and spread over shards, as img2dataset does it: a key is the shard's number and the place in the
/// shard, both zero-padded, so that keys sort as numbers do.</summary>
public sealed record ShardLayout
{
    public const int DefaultSamplesPerShard = 10_000;

    /// <summary>img2dataset's oom_shard_count.</summary>
    public const int DefaultShardDigits = 5;

    private readonly int _samplesPerShard = DefaultSamplesPerShard;
    private readonly int _shardDigits = DefaultShardDigits;

    /// <summary>1 to 10,000,000.</summary>
    public int SamplesPerShard
    {
        get => _samplesPerShard;
        init => _samplesPerShard = value is >= 1 and <= 10_000_000
            ? value
            : throw new ArgumentOutOfRangeException(nameof(value), $"{value} samples per shard is not in 1 to 10000000");
    }

    /// <summary>5 to 10.</summary>
    public int ShardDigits
    {
        get => _shardDigits;
        init => _shardDigits = value is >= DefaultShardDigits and <= 10
            ? value
            : throw new ArgumentOutOfRangeException(nameof(value), $"{value} digits for a shard's number is not in {DefaultShardDigits} to 10");
    }

    /// <summary>Digits of the place in a shard: those of the last place, as img2dataset's ceil(log10(samples per shard)), but never none.</summary>
    public int IndexDigits => Math.Max(1, Digits(SamplesPerShard - 1L));

    /// <summary>The layout for a job: 5 digits, more where it has more than 100,000 shards.</summary>
    public static ShardLayout For(long totalSamples, int samplesPerShard = DefaultSamplesPerShard)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(totalSamples);
        var layout = new ShardLayout { SamplesPerShard = samplesPerShard };
        return layout with { ShardDigits = Math.Max(DefaultShardDigits, Digits(layout.ShardCount(totalSamples) - 1)) };
    }

    /// <summary>00000.tar</summary>
    public string ShardName(long shard) => Padded(shard, ShardDigits) + ".tar";

    /// <summary>000000000: the key of the sample at <paramref name="position"/> in the whole job, from 0.</summary>
    public string Key(long position) =>
        Padded(ShardOf(position), ShardDigits) + Padded(position % SamplesPerShard, IndexDigits);

    public long ShardOf(long position) => position >= 0
        ? position / SamplesPerShard
        : throw new ArgumentOutOfRangeException(nameof(position), $"position {position} is negative");

    /// <summary>Shards for so many samples.</summary>
    public long ShardCount(long totalSamples) => (totalSamples + SamplesPerShard - 1) / SamplesPerShard;

    private static string Padded(long value, int digits)
    {
        string text = value.ToString("D" + digits);
        return text.Length == digits
            ? text
            : throw new ArgumentOutOfRangeException(nameof(value), $"{value} does not fit into {digits} digits");
    }

    private static int Digits(long value) => value <= 0 ? 1 : value.ToString().Length;
}
