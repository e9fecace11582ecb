using MetaQuery.Farm;
using StackExchange.Redis;

namespace MetaQuery.Redis;

public sealed partial class RedisWorkFeed
{
    /// <remarks>Items with a report that nobody confirmed yet are named too: the report is on its way to this head.</remarks>
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
                named.AddRange(leased.Skip(1).Select(payload => WorkItemCodec.Read((byte[])payload!)));
            }
        }

        named.AddRange(await _reports.OpenItemsAsync(cancellationToken));
        return named;
    }

    public async ValueTask<IReadOnlyList<WorkItem>> ReclaimAsync(CancellationToken cancellationToken)
    {
        var taken = new List<WorkItem>();
        string[] queues = await QueuesAsync(cancellationToken);
        IReadOnlyList<(string File, string WorkerMark)> files = _reports.ListFiles();
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
        return taken;
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
                WorkItem[] items = [.. entries.Select(entry => WorkItemCodec.Read((byte[])entry["i"]!))];
                RedisKey answer = _keys.Answer(NewName());
                RedisValue[] values = [(long)_options.AnswerTime.TotalMilliseconds, .. entries.Select(entry => entry.Id)];
                string letters = (string)(await RepeatAsync(LuaScripts.Take, [answer, stream], values, cancellationToken))!;
                _ = _connection.Database.KeyDeleteAsync(answer, CommandFlags.FireAndForget);
                taken.AddRange(items.Where((_, i) => letters[i] == '1'));
            }
        }
        while (next != "0-0");
    }
}
