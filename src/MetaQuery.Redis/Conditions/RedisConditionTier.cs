using System.Buffers.Binary;
using System.Security.Cryptography;
using MetaQuery.Farm;
using StackExchange.Redis;

namespace MetaQuery.Redis;

/// <summary>How conditions are kept in Redis; all processes of a farm must be given the same.</summary>
public sealed record RedisConditionOptions
{
    /// <summary>Bytes of all conditions together; the least recently used go first.</summary>
    public long BudgetBytes { get; init; } = 256L << 20;

    /// <summary>A condition that nobody used for so long goes.</summary>
    public TimeSpan TimeToLive { get; init; } = TimeSpan.FromHours(24);

    /// <summary>How long a read or write is repeated while Redis cannot be reached.</summary>
    public TimeSpan Patience { get; init; } = TimeSpan.FromSeconds(15);
}

/// <summary>Conditions in Redis, for all processes of the farm: checksummed, bounded in bytes by last use, and in time.</summary>
/// <remarks>
/// A value is <c>MQRC</c>, version (1 byte, 1), three zero bytes, payload length (int32, little-endian), the first 16 bytes of the payload's SHA-256, the
/// payload. The sorted set <c>conditions:use</c> holds when each was used last, the hash <c>conditions:sizes</c> the bytes of each and of all.
/// </remarks>
public sealed class RedisConditionTier : IConditionTier
{
    private const int HeaderBytes = 4 + 4 + 4 + ChecksumBytes;
    private const int ChecksumBytes = 16;
    private const byte Version = 1;
    private static ReadOnlySpan<byte> Magic => "MQRC"u8;

    private readonly RedisConnection _connection;
    private readonly RedisConditionOptions _options;
    private long _bytes;
    private long _evictions;

    public RedisConditionTier(RedisConnection connection, RedisConditionOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(connection);
        _connection = connection;
        _options = options ?? new RedisConditionOptions();
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(_options.BudgetBytes);
        ArgumentOutOfRangeException.ThrowIfLessThanOrEqual(_options.TimeToLive, TimeSpan.Zero);
    }

    public string Name => "redis";

    /// <summary>Bytes held for the whole farm, when this process last read or wrote.</summary>
    public long Bytes => Interlocked.Read(ref _bytes);

    /// <summary>Conditions that this process' writes pushed out.</summary>
    public long Evictions => Interlocked.Read(ref _evictions);

    /// <exception cref="WorkQueueException">Redis cannot be reached.</exception>
    public byte[]? TryRead(ConditionKey key, out bool isCorrupt)
    {
        isCorrupt = false;
        string name = key.ToString();
        var answer = (RedisResult[])Run(LuaScripts.ConditionRead, name, [name, Milliseconds])!;
        Interlocked.Exchange(ref _bytes, (long)answer[1]);
        if ((byte[]?)answer[0] is not { } value)
        {
            return null;
        }

        if (Unwrap(value) is { } condition)
        {
            return condition;
        }

        isCorrupt = true;
        Interlocked.Exchange(ref _bytes, (long)Run(LuaScripts.ConditionDrop, name, [name, value]));
        return null;
    }

    /// <exception cref="WorkQueueException">Redis cannot be reached, or is full.</exception>
    public void Write(ConditionKey key, ReadOnlySpan<byte> condition)
    {
        if (condition.Length + HeaderBytes > _options.BudgetBytes)
        {
            return; // all others would go for it, and then it too
        }

        string name = key.ToString();
        var answer = (long[])Run(LuaScripts.ConditionWrite, name, [name, Milliseconds, _options.BudgetBytes, _connection.Keys.ConditionPrefix, Wrap(condition)])!;
        Interlocked.Exchange(ref _bytes, answer[0]);
        Interlocked.Add(ref _evictions, answer[1]);
    }

    internal static byte[] Wrap(ReadOnlySpan<byte> condition)
    {
        var value = new byte[HeaderBytes + condition.Length];
        Magic.CopyTo(value);
        value[4] = Version;
        BinaryPrimitives.WriteInt32LittleEndian(value.AsSpan(8), condition.Length);
        Checksum(condition, value.AsSpan(12, ChecksumBytes));
        condition.CopyTo(value.AsSpan(HeaderBytes));
        return value;
    }

    private static byte[]? Unwrap(ReadOnlySpan<byte> value)
    {
        if (value.Length < HeaderBytes || !value[..4].SequenceEqual(Magic) || value[4] != Version
            || BinaryPrimitives.ReadInt32LittleEndian(value[8..]) != value.Length - HeaderBytes)
        {
            return null;
        }

        Span<byte> checksum = stackalloc byte[ChecksumBytes];
        Checksum(value[HeaderBytes..], checksum);
        return checksum.SequenceEqual(value.Slice(12, ChecksumBytes)) ? value[HeaderBytes..].ToArray() : null;
    }

    private static void Checksum(ReadOnlySpan<byte> payload, Span<byte> checksum)
    {
        Span<byte> sha256 = stackalloc byte[SHA256.HashSizeInBytes];
        SHA256.HashData(payload, sha256);
        sha256[..ChecksumBytes].CopyTo(checksum);
    }

    private long Milliseconds => (long)_options.TimeToLive.TotalMilliseconds;

    private RedisResult Run(string script, string name, RedisValue[] values)
    {
        RedisKeys keys = _connection.Keys;
        RedisKey[] keyArray = [keys.ConditionPrefix + name, keys.ConditionUse, keys.ConditionSizes];
        return _connection.Repeat(database => database.ScriptEvaluate(script, keyArray, values), _options.Patience);
    }
}
