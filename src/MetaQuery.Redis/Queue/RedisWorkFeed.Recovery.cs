using System.Collections.Concurrent;
using MetaQuery.Farm;
using StackExchange.Redis;

namespace MetaQuery.Redis;

public sealed partial class RedisWorkFeed
{
    private readonly SemaphoreSlim _reclaimGate = new(1, 1);
    private readonly List<WorkItem> _reclaimed = [];
    private readonly List<Take> _takes = [];
    private readonly ConcurrentQueue<WorkItem> _doubtful = new();

    /// <remarks>
    /// Items with a report that nobody confirmed yet are named too: the report is on its way to this head. What is leased and cannot be read here is not
    /// named: this head feeds it again, and what its holder reports meanwhile comes to nothing.
    /// </remarks>
    public async ValueTask<IReadOnlyList<WorkItem>> RecoverAsync(CancellationToken cancellationToken)
    {
        var named = new List<WorkItem>();
        foreach (string queue in await QueuesAsync(cancellationToken))
        {
            RedisKey[] keys = [_keys.Stream(queue)];
            while ((int)await RepeatAsync(LuaScripts.Recover, keys, [RedisKeys.HeadConsumer, EntriesPerCall], cancellationToken) > 0)
            {
                // some at a time, for a script holds everybody else up
            }

            string next = "-";
            while (next.Length > 0)
            {
                var leased = (RedisResult[])(await RepeatAsync(LuaScripts.Leased, keys, [next, EntriesPerCall], cancellationToken))!;
                next = (string)leased[0]!;
                named.AddRange(leased.Skip(1).Select(payload => ReadOrPassOver((RedisValue)payload)).OfType<WorkItem>());
            }
        }

        named.AddRange(await _reports.OpenItemsAsync(cancellationToken));
        return named;
    }

    public async ValueTask<IReadOnlyList<WorkItem>> ReclaimAsync(CancellationToken cancellationToken)
    {
        await _reclaimGate.WaitAsync(cancellationToken);
        try
        {
            await ReclaimAsync(_reclaimed, cancellationToken);
            WorkItem[] reclaimed = [.. _reclaimed];
            _reclaimed.Clear();
            return reclaimed;
        }
        finally
        {
            _reclaimGate.Release();
        }
    }

    public IReadOnlyList<WorkItem> TakeDoubtful()
    {
        var items = new List<WorkItem>();
        while (_doubtful.TryDequeue(out WorkItem? item))
        {
            items.Add(item);
        }

        return items;
    }

    /// <param name="taken">What was taken out is added at once: should a later step fail, the next call gives it.</param>
    private async Task ReclaimAsync(List<WorkItem> taken, CancellationToken cancellationToken)
    {
        string[] queues = await QueuesAsync(cancellationToken);
        IReadOnlyList<InboxFile> files = _reports.ListFiles();
        foreach (Take take in _takes.ToArray())
        {
            await FinishAsync(take, taken, cancellationToken);
        }

        if (_contact.IsSteady)
        {
            foreach (string queue in queues)
            {
                await ReclaimAsync(queue, taken, cancellationToken);
            }
        }

        var holders = new HashSet<string>(StringComparer.Ordinal);
        foreach (string queue in queues)
        {
            // a consumer may be between two leases: what it is gone for is far more than a lease's time
            RedisValue[] values = [queue, (long)(_options.LeaseTime * 10).TotalMilliseconds];
            var names = (string[])(await RepeatAsync(LuaScripts.Sweep, [_keys.Queues, _keys.Stream(queue)], values, cancellationToken))!;
            holders.UnionWith(names);
        }

        await _reports.SweepAsync(files, holders, cancellationToken);
    }

    /// <summary>In two steps: first the entries become the head's, so that no heartbeat renews them; then those go that no late worker reported meanwhile.</summary>
    /// <remarks>Between the steps nothing is lost: what a head has claimed and not taken is idle again, for it or for the next head.</remarks>
    private async Task ReclaimAsync(string queue, List<WorkItem> taken, CancellationToken cancellationToken)
    {
        RedisKey stream = _keys.Stream(queue);
        RedisValue next = "0-0";
        do
        {
            RedisValue from = next;
            StreamAutoClaimResult claimed;
            try
            {
                claimed = await _connection.RunAsync(database => database.StreamAutoClaimAsync(
                    stream, RedisKeys.Group, RedisKeys.HeadConsumer, (long)_options.LeaseTime.TotalMilliseconds, from, EntriesPerCall));
            }
            catch (RedisRefusedException exception) when (exception.InnerException is RedisServerException server && server.Message.StartsWith("NOGROUP", StringComparison.Ordinal))
            {
                return; // swept since it was listed
            }

            next = claimed.NextStartId;
            StreamEntry[] entries = [.. claimed.ClaimedEntries.Where(entry => !entry.IsNull)];
            if (entries.Length > 0)
            {
                var take = new Take(stream, NewName(), [.. entries.Select(entry => entry.Id)], [.. entries.Select(entry => ReadOrPassOver(entry["i"]))]);
                _takes.Add(take);
                await FinishAsync(take, taken, cancellationToken);
            }
        }
        while (next != "0-0");
    }

    private async Task FinishAsync(Take take, List<WorkItem> taken, CancellationToken cancellationToken)
    {
        RedisKey answer = _keys.Answer(take.Call);
        RedisValue[] values = [(long)_options.AnswerTime.TotalMilliseconds, .. take.Entries];
        RedisKey[] keys = [answer, take.Stream];
        string letters = (string)(await _connection.RepeatAsync(
            database =>
            {
                take.Calls++;
                return database.ScriptEvaluateAsync(LuaScripts.Take, keys, values);
            },
            _options.Patience, cancellationToken))!;
        // Redis may no longer know what an earlier call did, whose answer was thrown away: made once too often is only work done twice, not taken is work never done
        bool isDoubtful = letters[0] == '1' && take.Calls > 1;
        for (int i = 0; i < take.Items.Length; i++)
        {
            bool isTaken = letters[i + 1] == '1';
            if (take.Items[i] is not { } item)
            {
                _hasDropped |= isTaken || isDoubtful;
            }
            else if (isTaken)
            {
                taken.Add(item);
            }
            else if (isDoubtful)
            {
                _doubtful.Enqueue(item);
            }
        }

        _takes.Remove(take);
        _ = _connection.Database.KeyDeleteAsync(answer, CommandFlags.FireAndForget);
    }

    private WorkItem? ReadOrPassOver(RedisValue bytes)
    {
        if (!EntryReader.TryRead(bytes, out WorkItem? item, out string? problem))
        {
            _options.Log.ItemPassedOver(problem);
        }

        return item;
    }

    /// <summary>Entries that are this head's and are to be taken out, until it is known that they are; without an item where it cannot be read.</summary>
    private sealed record Take(RedisKey Stream, string Call, RedisValue[] Entries, WorkItem?[] Items)
    {
        /// <summary>How often Redis was asked.</summary>
        public int Calls { get; set; }
    }
}
