using MetaQuery.Farm;
using MetaQuery.Redis;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;

namespace MetaQuery.Silo.Hosting;

/// <summary>What the processes of one farm over Redis must agree on.</summary>
public sealed record RedisFarmOptions
{
    /// <summary>Where Redis is.</summary>
    public required RedisOptions Redis { get; init; }

    /// <summary>The head's data folder, as this process sees it.</summary>
    public required string DataFolder { get; init; }

    /// <summary>How long a worker may be silent.</summary>
    public TimeSpan LeaseTime { get; init; } = TimeSpan.FromSeconds(30);

    /// <summary>Conditions in Redis.</summary>
    public RedisConditionOptions Conditions { get; init; } = new();

    /// <summary>Bytes of conditions on disk.</summary>
    public long ConditionDiskBytes { get; init; } = 8L << 30;

    public string InboxFolder => Path.Combine(DataFolder, "inbox");

    public string ConditionsFolder => Path.Combine(DataFolder, "conditions");
}

/// <summary>One process' way into a farm over Redis: the connection with what head and workers both need.</summary>
public sealed class RedisFarm : IAsyncDisposable
{
    private static readonly WorkerOptions WorkerDefaults = new();
    private static readonly TimeSpan LongestPass = TimeSpan.FromHours(6); // prompts of the largest models on a few processor cores
    private static readonly TimeSpan AskAgain = TimeSpan.FromMilliseconds(500);

    private RedisFarm(RedisFarmOptions options, RedisConnection connection) => (Options, Connection) = (options, connection);

    public RedisFarmOptions Options { get; }

    public RedisConnection Connection { get; }

    /// <summary>Of queues that are opened from now on.</summary>
    public ILogger Log { get; set; } = NullLogger.Instance;

    /// <summary>For <see cref="RedisWorkQueue"/> and <see cref="RedisWorkFeed"/>.</summary>
    public RedisQueueOptions Queue => new() { InboxFolder = Options.InboxFolder, LeaseTime = Options.LeaseTime, Log = Log };

    /// <exception cref="FarmException">Redis cannot be reached, or refuses: one line.</exception>
    public static async Task<RedisFarm> ConnectAsync(RedisFarmOptions options, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(options);
        return new RedisFarm(options, await RedisConnection.ConnectAsync(options.Redis, cancellationToken));
    }

    /// <summary>The queue as a worker sees it; waits where Redis cannot be reached just now.</summary>
    public async Task<RedisWorkQueue> OpenQueueAsync(CancellationToken cancellationToken)
    {
        while (true)
        {
            try
            {
                return await RedisWorkQueue.OpenAsync(Connection, Queue);
            }
            catch (WorkQueueException)
            {
                await Task.Delay(AskAgain, cancellationToken);
            }
        }
    }

    public RedisWorkerRegistry CreateRegistry() => new(Connection, Options.LeaseTime);

    /// <summary>Memory, then Redis, then disk; a condition is made by one process at a time.</summary>
    /// <param name="memoryBytes">Of this process' memory.</param>
    public ConditionCache CreateCache(long memoryBytes) => new(
        memoryBytes,
        [new RedisConditionTier(Connection, Options.Conditions), new DiskConditionTier(Options.ConditionsFolder, Options.ConditionDiskBytes)],
        new RedisFlightBoard(Connection, Options.LeaseTime, LongestPass)); // whoever died with a right lost his leases by then too

    public ValueTask DisposeAsync() => Connection.DisposeAsync();
}
