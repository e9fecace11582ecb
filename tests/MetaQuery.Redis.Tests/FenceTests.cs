using MetaQuery.Farm;
using MetaQuery.Farm.Tests.Doubles;
using MetaQuery.TestKit;
using static MetaQuery.Redis.Tests.TestFarm;

namespace MetaQuery.Redis.Tests;

/// <summary>Leases that run out, and who wins then.</summary>
public sealed class FenceTests(RealRedis redis) : IClassFixture<RealRedis>
{
    private static readonly CancellationToken None = CancellationToken.None;
    private static readonly TimeSpan Short = TimeSpan.FromMilliseconds(300);

    [Fact]
    public async Task A_report_that_comes_after_the_reclaim_is_refused()
    {
        await using var farm = new TestFarm(redis, Short);
        RedisWorkFeed head = await farm.HeadAsync();
        RedisWorkQueue worker = await farm.WorkerAsync();
        await head.FeedAsync(Lane, Denoises(3), None);
        IReadOnlyList<Lease> leases = await worker.LeaseAsync(Request("w1"), None);
        var reclaimed = new List<WorkItem>();
        await UntilAsync(async () => { reclaimed.AddRange(await head.ReclaimAsync(None)); return reclaimed.Count > 0; }, "reclaimed");
        Assert.Equal(Ids(leases.Select(lease => lease.Item)), Ids(reclaimed));
        Assert.All(await worker.ReportAsync("w1", [.. leases.Select(Finish)], None), Assert.False);
        Assert.Equal(leases, await worker.RenewAsync("w1", leases, None));
        Assert.Empty(await head.ReceiveAsync(10, TimeSpan.Zero, None));
        Assert.Empty(Directory.EnumerateFileSystemEntries(farm.Inbox));
    }

    [Fact]
    public async Task A_report_that_comes_before_the_reclaim_is_taken_however_late_it_is()
    {
        await using var farm = new TestFarm(redis, Short);
        RedisWorkFeed head = await farm.HeadAsync();
        RedisWorkQueue worker = await farm.WorkerAsync();
        await head.FeedAsync(Lane, Denoises(2), None);
        IReadOnlyList<Lease> leases = await worker.LeaseAsync(Request("w1"), None);
        await Task.Delay(Short * 2);
        Assert.All(await worker.ReportAsync("w1", [.. leases.Select(Finish)], None), Assert.True);
        await UntilAsync(async () => { Assert.Empty(await head.ReclaimAsync(None)); return farm.Keys is ["reports", "run"]; }, "the queue is swept");
        Assert.Equal(2, (await head.ReceiveAsync(10, TimeSpan.Zero, None)).Count);
    }

    [Fact]
    public async Task A_head_that_was_replaced_confirms_no_report_which_are_the_next_ones()
    {
        await using var farm = new TestFarm(redis);
        RedisWorkFeed replaced = await farm.HeadAsync();
        RedisWorkQueue worker = await farm.WorkerAsync();
        await replaced.FeedAsync(Lane, Denoises(2), None);
        await worker.ReportAsync("w1", [.. (await worker.LeaseAsync(Request("w1"), None)).Select(Finish)], None);
        IReadOnlyList<ReceivedReport> read = await replaced.ReceiveAsync(10, TimeSpan.Zero, None);
        RedisWorkFeed next = await farm.HeadAsync();
        await Assert.ThrowsAsync<WorkQueueException>(async () => await replaced.ConfirmAsync(read, None));
        IReadOnlyList<ReceivedReport> again = await next.ReceiveAsync(10, TimeSpan.Zero, None);
        Assert.Equal(read.Select(report => report.Receipt), again.Select(report => report.Receipt));
        await next.ConfirmAsync(again, None);
        Assert.Equal(new LaneDepth(0, 0, 0, 0), await next.DepthAsync(Lane, None));
    }

    [Fact]
    public async Task Leases_that_nobody_renews_or_reports_are_forgotten_when_they_have_long_run_out()
    {
        await using var farm = new TestFarm(redis);
        RedisWorkFeed head = await farm.HeadAsync();
        var clock = new JumpingClock();
        await using RedisWorkQueue worker = await RedisWorkQueue.OpenAsync(await farm.ConnectAsync(), farm.Options, clock);
        await head.FeedAsync(Lane, Denoises(5), None);
        IReadOnlyList<Lease> leases = await worker.LeaseAsync(Request("w1"), None);
        await head.WithdrawAsync(Job, None); // a worker lets go what was withdrawn, and never speaks of it again
        await worker.RenewAsync("w1", leases.Take(2).ToArray(), None);
        clock.Jump(farm.Options.LeaseTime * 19);
        Assert.Equal(3, worker.LeasesRemembered); // two were lost and told so
        clock.Jump(farm.Options.LeaseTime * 2);
        await worker.RenewAsync("w1", [], None);
        Assert.Equal(0, worker.LeasesRemembered);
    }

    [Fact]
    public async Task A_report_between_the_reclaims_two_steps_is_taken_and_the_item_is_not_reclaimed_too()
    {
        await using var farm = new TestFarm(redis, Short);
        RedisWorkFeed head = await farm.HeadAsync();
        RedisWorkQueue worker = await farm.WorkerAsync();
        await head.FeedAsync(Lane, Denoises(2), None);
        IReadOnlyList<Lease> leases = await worker.LeaseAsync(Request("w1"), None);
        string stream = farm.Key($"q:{Lane}:dit:bulk");
        redis.Command("XAUTOCLAIM", stream, "w", "#head", "0", "0-0");
        Assert.Equal(leases, await worker.RenewAsync("w1", leases, None));
        Assert.Equal([true], await worker.ReportAsync("w1", [Finish(leases[0])], None));
        var reclaimed = new List<WorkItem>();
        await UntilAsync(async () => { reclaimed.AddRange(await head.ReclaimAsync(None)); return reclaimed.Count > 0; }, "reclaimed");
        Assert.Equal([leases[1].Item.Id], Ids(reclaimed));
        Assert.Equal([leases[0].Item.Id], Ids((await head.ReceiveAsync(10, TimeSpan.Zero, None)).Select(report => report.Item)));
    }

    [Fact]
    public async Task In_a_race_every_item_ends_once_reported_or_reclaimed()
    {
        const int Items = 600;
        await using var farm = new TestFarm(redis, TimeSpan.FromMilliseconds(200));
        RedisWorkFeed head = await farm.HeadAsync();
        RedisWorkQueue[] workers = [await farm.WorkerAsync(), await farm.WorkerAsync(), await farm.WorkerAsync()];
        await head.FeedAsync(Lane, [.. Enumerable.Range(0, Items).Select(item => Encode($"{item}"))], None);
        long refused = 0;
        Task working = Task.WhenAll(workers.Select((worker, number) => Task.Run(async () =>
        {
            var random = new Random(number);
            string name = $"w{number}";
            while (await worker.LeaseAsync(Request(name, WorkRoles.Mllm, most: 16), None) is { Count: > 0 } leases)
            {
                await Task.Delay(random.Next(140, 260)); // about the lease's time
                foreach (Lease lease in leases)
                {
                    bool taken = (await worker.ReportAsync(name, [Finish(lease)], None))[0];
                    Interlocked.Add(ref refused, taken ? 0 : 1);
                }
            }
        })));
        var ended = new List<string>();
        var reclaimed = 0;
        var reported = 0;
        await UntilAsync(
            async () =>
            {
                IReadOnlyList<WorkItem> back = await head.ReclaimAsync(None);
                IReadOnlyList<ReceivedReport> reports = await head.ReceiveAsync(500, TimeSpan.Zero, None);
                await head.ConfirmAsync(reports, None);
                ended.AddRange(back.Select(item => item.Id));
                ended.AddRange(reports.Select(report => report.Item.Id));
                (reclaimed, reported) = (reclaimed + back.Count, reported + reports.Count);
                return working.IsCompleted && ended.Count >= Items;
            },
            "all items ended");
        await working;
        Assert.Equal(Items, ended.Distinct().Count());
        Assert.Equal(Items, ended.Count);
        Assert.Equal(refused, reclaimed);
        Assert.True(reclaimed > 0 && reported > 0, $"{reclaimed} reclaimed, {reported} reported: no race");
    }

    [Fact]
    public async Task Heartbeats_keep_a_lease_and_only_the_holders_do()
    {
        await using var farm = new TestFarm(redis, TimeSpan.FromMilliseconds(600));
        RedisWorkFeed head = await farm.HeadAsync();
        RedisWorkQueue worker = await farm.WorkerAsync();
        await head.FeedAsync(Lane, Denoises(2), None);
        IReadOnlyList<Lease> kept = await worker.LeaseAsync(Request("w1", most: 1), None);
        IReadOnlyList<Lease> silent = await worker.LeaseAsync(Request("w2", most: 1), None);
        var reclaimed = new List<WorkItem>();
        await UntilAsync(
            async () =>
            {
                Assert.Empty(await worker.RenewAsync("w1", kept, None));
                Assert.NotEmpty(await worker.RenewAsync("w1", silent, None)); // not its own: no heartbeat
                reclaimed.AddRange(await head.ReclaimAsync(None));
                return reclaimed.Count > 0;
            },
            "the silent worker's item is reclaimed");
        Assert.Equal([silent[0].Item.Id], Ids(reclaimed));
        Assert.Equal([true], await worker.ReportAsync("w1", [Finish(kept[0])], None));
    }

    [Fact]
    public async Task A_gone_workers_consumer_is_deleted_but_never_one_that_holds_something()
    {
        await using var farm = new TestFarm(redis, TimeSpan.FromMilliseconds(50));
        RedisWorkFeed head = await farm.HeadAsync();
        RedisWorkQueue worker = await farm.WorkerAsync();
        await head.FeedAsync(Lane, Denoises(3), None);
        IReadOnlyList<Lease> gone = await worker.LeaseAsync(Request("gone", most: 1), None);
        IReadOnlyList<Lease> held = await worker.LeaseAsync(Request("holds", most: 1), None);
        await worker.ReportAsync("gone", [Finish(gone[0])], None);
        await UntilAsync(
            async () =>
            {
                Assert.Empty(await worker.RenewAsync("holds", held, None));
                Assert.Empty(await head.ReclaimAsync(None));
                var consumers = (object?[])redis.Command("XINFO", "CONSUMERS", farm.Key($"q:{Lane}:dit:bulk"), "w")!;
                return consumers.Select(consumer => (string)((object?[])consumer!)[1]!).Order(StringComparer.Ordinal) is var names && names.SequenceEqual(["holds"]);
            },
            "only the holder is left");
    }

    [Fact]
    public async Task A_head_that_starts_takes_out_what_waits_and_names_what_is_leased_or_reported()
    {
        await using var farm = new TestFarm(redis, Short);
        RedisWorkFeed head = await farm.HeadAsync();
        RedisWorkQueue worker = await farm.WorkerAsync();
        await head.FeedAsync(Lane, [.. Denoises(700), Denoise(1000, "interrupted") with { RunsAlone = true }], None);
        IReadOnlyList<Lease> leases = await worker.LeaseAsync(Request("w1", most: 30), None);
        await worker.LeaseAloneAsync("w1", Lane, WorkRoles.Dit, None);
        redis.Command("XAUTOCLAIM", farm.Key($"alone:{Lane}:dit"), "w", "#head", "0", "0-0"); // a head that died in its reclaim
        await worker.ReportAsync("w1", [.. leases.Take(10).Select(Finish)], None);
        IReadOnlyList<ReceivedReport> before = await head.ReceiveAsync(100, TimeSpan.Zero, None);
        await head.ConfirmAsync([.. before.Take(4)], None);

        RedisWorkFeed next = await farm.HeadAsync();
        Assert.Equal(Ids(leases.Skip(4).Select(lease => lease.Item)), Ids(await next.RecoverAsync(None)));
        Assert.Equal(new LaneDepth(0, 0, 20, 6), await next.DepthAsync(Lane, None));
        Assert.Equal(before.Skip(4).Select(report => report.Receipt), (await next.ReceiveAsync(100, TimeSpan.Zero, None)).Select(report => report.Receipt));
        Assert.All(await worker.ReportAsync("w1", [.. leases.Skip(10).Select(Finish)], None), Assert.True);
        await next.FeedAsync(Lane, [Denoise(5000)], None);
        Assert.False(await next.HasLostItemsAsync(None));
        await Assert.ThrowsAsync<RedisHeadReplacedException>(async () => await head.FeedAsync(Lane, [Denoise(5001)], None));
        await Assert.ThrowsAsync<RedisHeadReplacedException>(async () => await head.HasLostItemsAsync(None));
        Assert.Equal([$"d/{Job}/5000"], Ids((await worker.LeaseAsync(Request("w1"), None)).Select(lease => lease.Item)));
    }
}
