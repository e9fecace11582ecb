using MetaQuery.Data;
using MetaQuery.Farm;
using MetaQuery.Imaging;
using MetaQuery.TestKit;

namespace MetaQuery.Redis.Tests;

/// <summary>A head's side and workers' sides of one namespace, each on a connection of its own, as in separate processes.</summary>
internal sealed class TestFarm : IAsyncDisposable
{
    public const string Lane = "0123456789abcdef";
    public const string Job = "job_1";
    private static readonly ConditionIdentity Identity = new("encoder", "tokenizer", "{{ }}", "system", 16, "bfloat16", "numerics", 64);

    private readonly List<IAsyncDisposable> _parts = [];
    private readonly string _folder = Directory.CreateTempSubdirectory("metaquery-redis-farm-").FullName;
    private readonly RealRedis _redis;
    private readonly string _namespace = Guid.NewGuid().ToString("n");

    public TestFarm(RealRedis redis, TimeSpan? leaseTime = null, TimeSpan? patience = null)
    {
        _redis = redis;
        Options = new RedisQueueOptions
        {
            InboxFolder = Path.Combine(_folder, "inbox"),
            LeaseTime = leaseTime ?? TimeSpan.FromSeconds(30),
            PollTime = TimeSpan.FromMilliseconds(200),
            Patience = patience ?? TimeSpan.FromSeconds(15),
        };
    }

    public RedisQueueOptions Options { get; private init; }

    public TimeSpan CommandTimeout { get; init; } = TimeSpan.FromSeconds(2);

    /// <summary>Another way to the server than the direct one.</summary>
    public string? Address { get; init; }

    /// <summary>The inbox folder.</summary>
    public string Inbox { get => Options.InboxFolder; init => Options = Options with { InboxFolder = value }; }

    /// <summary>Keys of this namespace, without its prefix.</summary>
    public string[] Keys => [.. _redis.Keys($"mq:{{{_namespace}}}:*").Select(key => key[$"mq:{{{_namespace}}}:".Length..])];

    /// <summary>A key's whole name.</summary>
    public string Key(string name) => $"mq:{{{_namespace}}}:{name}";

    public RedisOptions Connection => RedisOptions.Parse(Address ?? _redis.Address) with { Namespace = _namespace, CommandTimeout = CommandTimeout };

    public async Task<RedisConnection> ConnectAsync()
    {
        RedisConnection connection = await RedisConnection.ConnectAsync(Connection, CancellationToken.None);
        _parts.Add(connection);
        return connection;
    }

    public async Task<RedisWorkFeed> HeadAsync()
    {
        RedisWorkFeed feed = await RedisWorkFeed.OpenAsync(await ConnectAsync(), Options);
        _parts.Add(feed);
        return feed;
    }

    public async Task<RedisWorkQueue> WorkerAsync()
    {
        RedisWorkQueue queue = await RedisWorkQueue.OpenAsync(await ConnectAsync(), Options);
        _parts.Add(queue);
        return queue;
    }

    public async ValueTask DisposeAsync()
    {
        foreach (IAsyncDisposable part in Enumerable.Reverse(_parts))
        {
            await part.DisposeAsync();
        }

        Directory.Delete(_folder, recursive: true);
    }

    public static EncodeItem Encode(string caption, JobPriority priority = JobPriority.Bulk) =>
        new(ConditionKey.Create(Identity, new ConditionRequest(caption)), new ConditionRequest(caption), KeepOnDisk: false) { Priority = priority };

    public static DenoiseItem Denoise(long position, string job = Job, JobPriority priority = JobPriority.Bulk) => new(
        job, position, $"{position:d9}", new PromptLine { Line = position + 1, Index = position, Prompt = $"prompt {position}" },
        new LineSettings(20, 4.5f, ""), 0, (ulong)position, Encode($"prompt {position}").Key, Encode("").Key, new ImageSize(64, 64), 4, ImageFormat.Png, 95)
    {
        Priority = priority,
    };

    public static DenoiseItem[] Denoises(int count, string job = Job, JobPriority priority = JobPriority.Bulk) =>
        [.. Enumerable.Range(0, count).Select(position => Denoise(position, job, priority))];

    public static LeaseRequest Request(string worker, WorkRoles role = WorkRoles.Dit, int most = 16, double waitSeconds = 0, string lane = Lane) =>
        new(worker, lane, role, most, TimeSpan.FromSeconds(waitSeconds));

    public static WorkReport Finish(Lease lease) => new(lease, lease.Item is DenoiseItem item
        ? new DenoisedOutcome(new FinishedSample(item.Position, new byte[] { 1, 2, (byte)item.Position }, "caption"u8.ToArray(), "{}"u8.ToArray()))
        : new EncodedOutcome(WasMade: true));

    /// <summary>Waits for a condition, with a limit that only a broken farm reaches.</summary>
    public static async Task UntilAsync(Func<Task<bool>> condition, string what)
    {
        long start = TimeProvider.System.GetTimestamp();
        while (!await condition())
        {
            Assert.True(TimeProvider.System.GetElapsedTime(start) < TimeSpan.FromSeconds(30), $"not within 30 s: {what}");
            await Task.Delay(10);
        }
    }

    public static string[] Ids(IEnumerable<WorkItem> items) => [.. items.Select(item => item.Id).Order(StringComparer.Ordinal)];
}
