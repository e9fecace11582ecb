using System.Security.Cryptography;
using MetaQuery.Farm;
using StackExchange.Redis;

namespace MetaQuery.Redis;

/// <summary>The work queue over Redis Streams, as the head sees it. Its other side is <see cref="RedisWorkQueue"/>.</summary>
/// <remarks>
/// Every step is a script, and every script that must not run twice knows its call by name: what was done before its answer got lost is not done again.
/// The count of fed items in the key <c>run</c> only grows: where it is less than this head knows, Redis lost something.
/// </remarks>
public sealed partial class RedisWorkFeed : IWorkFeed, IAsyncDisposable
{
    private const int ItemsPerCall = 512;
    private const long ItemBytesPerCall = 4 << 20; // a call must be over well within its time limit, and holds everybody else up
    private const int EntriesPerCall = 512;

    private readonly RedisConnection _connection;
    private readonly RedisKeys _keys;
    private readonly RedisQueueOptions _options;
    private readonly TimeProvider _clock;
    private readonly ReportReader _reports;
    private readonly SemaphoreSlim _gate = new(1, 1);
    private readonly string _head;
    private readonly ContactClock _contact;
    private string _epoch;
    private string _server;
    private long _fed;
    private volatile bool _hasDropped;

    private RedisWorkFeed(RedisConnection connection, RedisQueueOptions options, TimeProvider clock, string head, string epoch, string server, long fed)
    {
        (_connection, _keys, _options, _clock) = (connection, connection.Keys, options, clock);
        (_head, _epoch, _server, _fed) = (head, epoch, server, fed);
        _reports = new ReportReader(connection, options, clock, head, () => _hasDropped = true);
        _contact = new ContactClock(options.LeaseTime, clock);
    }

    public TimeSpan LeaseTime => _options.LeaseTime;

    /// <summary>Takes the namespace over: a head before this one can feed no more.</summary>
    /// <exception cref="WorkQueueException">Redis cannot be reached.</exception>
    /// <exception cref="RedisRefusedException">Redis is set to throw keys away when it is full.</exception>
    /// <exception cref="Data.StorageException">The inbox folder cannot be made.</exception>
    public static async Task<RedisWorkFeed> OpenAsync(RedisConnection connection, RedisQueueOptions options, TimeProvider? clock = null)
    {
        ArgumentNullException.ThrowIfNull(connection);
        ArgumentNullException.ThrowIfNull(options);
        await RequireSafeEvictionAsync(connection);
        string server = await AskAsync(connection, "server", "run_id");
        new SampleInbox(options.InboxFolder).Create();
        RedisKeys keys = connection.Keys;
        string head = NewName();
        var run = (string[])(await connection.RunAsync(database => database.ScriptEvaluateAsync(
            LuaScripts.Open, [keys.Run, keys.Queues, keys.Reports], [head, NewName(), keys.Prefix])))!;
        return new RedisWorkFeed(connection, options, clock ?? TimeProvider.System, head, run[0], server, long.Parse(run[1]));
    }

    public async ValueTask FeedAsync(string lane, IReadOnlyList<WorkItem> items, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(items);
        await _gate.WaitAsync(cancellationToken);
        try
        {
            foreach (IReadOnlyList<(WorkItem, byte[])> chunk in ItemChunks.Cut(items, item => item, ItemsPerCall, ItemBytesPerCall))
            {
                await FeedChunkAsync(lane, chunk, cancellationToken);
            }
        }
        finally
        {
            _gate.Release();
        }
    }

    public ValueTask<IReadOnlyList<ReceivedReport>> ReceiveAsync(int most, TimeSpan wait, CancellationToken cancellationToken) =>
        _reports.ReceiveAsync(most, wait, _contact, cancellationToken);

    public ValueTask ConfirmAsync(IReadOnlyList<ReceivedReport> reports, CancellationToken cancellationToken) => _reports.ConfirmAsync(reports, cancellationToken);

    public async ValueTask WithdrawAsync(string jobId, CancellationToken cancellationToken)
    {
        ArgumentException.ThrowIfNullOrEmpty(jobId);
        foreach (string queue in await QueuesAsync(cancellationToken))
        {
            RedisKey[] keys = [_keys.Stream(queue)];
            string next = "-";
            while (next.Length > 0)
            {
                RedisValue[] values = [jobId, next, EntriesPerCall];
                next = (string)(await RepeatAsync(LuaScripts.Withdraw, keys, values, cancellationToken))!;
            }
        }

        await _connection.RepeatAsync(database => database.PublishAsync(RedisChannel.Literal(_keys.Withdrawn), jobId), _options.Patience, cancellationToken);
    }

    /// <remarks>An item that could not be read is lost, too. As with every other loss the streams go: with them goes what else nobody can read.</remarks>
    public async ValueTask<bool> HasLostItemsAsync(CancellationToken cancellationToken)
    {
        await _gate.WaitAsync(cancellationToken);
        try
        {
            RedisValue[] run = await _connection.RepeatAsync(
                database => database.HashGetAsync(_keys.Run, ["epoch", "head", "fed"]), _options.Patience, cancellationToken);
            string server = await AskAsync(_connection, "server", "run_id");
            if (server != _server)
            {
                _server = server;
                _reports.StartAgain();
            }

            if (run[0] == _epoch && (long)run[2] >= _fed)
            {
                if (run[1] != _head)
                {
                    throw Replaced();
                }

                if (!_hasDropped)
                {
                    return false;
                }
            }

            string epoch = NewName();
            await RepeatAsync(LuaScripts.Reset, [_keys.Run, _keys.Queues, _keys.Reports], [_head, epoch, _keys.Prefix], cancellationToken);
            (_epoch, _fed) = (epoch, 0);
            _hasDropped = false; // what is dropped from here on lay there before, and is fed again, too
            _reports.StartAgain();
            return true;
        }
        finally
        {
            _gate.Release();
        }
    }

    public async ValueTask<LaneDepth> DepthAsync(string lane, CancellationToken cancellationToken)
    {
        IReadOnlyList<string> encode = RedisKeys.QueuesOf(lane, WorkRoles.Mllm);
        IReadOnlyList<string> denoise = RedisKeys.QueuesOf(lane, WorkRoles.Dit);
        RedisKey[] keys = [.. encode.Concat(denoise).Select(_keys.Stream)];
        var depths = (long[])(await RepeatAsync(LuaScripts.Depth, keys, [], cancellationToken))!;
        long reports = await _connection.RepeatAsync(database => database.StreamLengthAsync(_keys.Reports), _options.Patience, cancellationToken);
        long leased = depths.Where((_, i) => i % 2 == 1).Sum();
        return new LaneDepth(Waiting(0, encode.Count), Waiting(encode.Count, denoise.Count), leased, reports);

        // the last queue of each role is the one of items that run alone
        long Waiting(int first, int count) => Enumerable.Range(first, count - 1).Sum(i => depths[2 * i] - depths[(2 * i) + 1]);
    }

    public async ValueTask DisposeAsync()
    {
        _gate.Dispose();
        _reclaimGate.Dispose();
        await _reports.DisposeAsync();
    }

    private static string NewName() => Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(8));

    /// <summary>A full Redis must refuse to write rather than throw away a queue.</summary>
    private static async Task RequireSafeEvictionAsync(RedisConnection connection)
    {
        string policy = await AskAsync(connection, "memory", "maxmemory_policy");
        if (policy.StartsWith("allkeys", StringComparison.Ordinal))
        {
            throw new RedisRefusedException(
                $"redis at {connection.Options.Address} has maxmemory-policy {policy}, which would throw queued work away: set noeviction or volatile-lru");
        }
    }

    private static async Task<string> AskAsync(RedisConnection connection, string section, string name)
    {
        string info = (string)(await connection.RunAsync(database => database.ExecuteAsync("INFO", section)))!;
        int at = info.IndexOf($"\n{name}:", StringComparison.Ordinal);
        return at < 0 ? "" : info[(at + name.Length + 2)..].Split('\r', '\n')[0];
    }

    private async Task FeedChunkAsync(string lane, IReadOnlyList<(WorkItem Item, byte[] Bytes)> items, CancellationToken cancellationToken)
    {
        List<string> queues = [.. items.Select(item => RedisKeys.QueueOf(lane, item.Item)).Distinct(StringComparer.Ordinal)];
        RedisKey[] keys = [_keys.Run, _keys.Queues, .. queues.Select(_keys.Stream)];
        var values = new List<RedisValue> { _head, _epoch, NewName(), _fed, items.Count, _keys.WakePrefix };
        foreach (string queue in queues)
        {
            values.Add(queue);
            values.Add(RedisKeys.WakeName(lane, items.First(item => RedisKeys.QueueOf(lane, item.Item) == queue).Item.Role));
        }

        foreach ((WorkItem item, byte[] bytes) in items)
        {
            values.Add(queues.IndexOf(RedisKeys.QueueOf(lane, item)) + 1);
            values.Add(bytes);
            values.Add(item is DenoiseItem denoise ? denoise.JobId : "");
        }

        RedisValue[] valueArray = [.. values];
        var answer = (RedisResult[])(await RepeatAsync(LuaScripts.Feed, keys, valueArray, cancellationToken))!;
        _fed = (string)answer[0]! switch
        {
            "OK" => (long)answer[1],
            "TAKEN" => throw Replaced(),
            _ => throw new WorkQueueException($"redis at {_connection.Options.Address} lost what the farm had put there: everything open must be fed again"),
        };
    }

    private async Task<string[]> QueuesAsync(CancellationToken cancellationToken)
    {
        RedisValue[] names = await _connection.RepeatAsync(database => database.SetMembersAsync(_keys.Queues), _options.Patience, cancellationToken);
        _contact.Heard();
        return [.. names.Select(name => name.ToString()).Order(StringComparer.Ordinal)];
    }

    private Task<RedisResult> RepeatAsync(string script, RedisKey[] keys, RedisValue[] values, CancellationToken cancellationToken) =>
        _connection.RepeatAsync(database => database.ScriptEvaluateAsync(script, keys, values), _options.Patience, cancellationToken);

    private RedisHeadReplacedException Replaced() => new(
        $"another head has taken over namespace {_connection.Options.Namespace} of redis at {_connection.Options.Address}: two heads need two namespaces");
}
