using MetaQuery.Farm;
using MetaQuery.Farm.Tests.Doubles;
using MetaQuery.TestKit;
using static MetaQuery.Redis.Tests.TestFarm;

namespace MetaQuery.Redis.Tests;

/// <summary>Entries in Redis that this version cannot read, as a later one or damage leaves them: what can be read goes on.</summary>
public sealed class OtherFormatTests(RealRedis redis) : IClassFixture<RealRedis>
{
    private const string Stream = $"q:{Lane}:dit:bulk";
    private static readonly TimeSpan LeaseTime = TimeSpan.FromSeconds(3);
    private static readonly CancellationToken None = CancellationToken.None;

    [Fact]
    public async Task A_worker_gives_an_item_that_it_cannot_read_back_keeps_the_others_and_rests()
    {
        await using var farm = new TestFarm(redis, LeaseTime);
        RedisWorkFeed head = await farm.HeadAsync();
        RedisWorkQueue worker = await farm.WorkerAsync();
        await head.FeedAsync(Lane, [Denoise(0)], None);
        Foreign.AddItem(redis, farm, Stream);
        await head.FeedAsync(Lane, [Denoise(1)], None);
        IReadOnlyList<Lease> leases = await worker.LeaseAsync(Request("w1"), None);
        Assert.Equal(["d/job_1/0", "d/job_1/1"], leases.Select(lease => lease.Item.Id));
        Assert.Equal(2, (await head.DepthAsync(Lane, None)).Leased); // it counts against nobody

        await head.FeedAsync(Lane, [Denoise(2)], None);
        Assert.Empty(await worker.LeaseAsync(Request("w1"), None));
        Assert.Single(await (await farm.WorkerAsync()).LeaseAsync(Request("w2"), None)); // others may read what this one cannot
        await head.FeedAsync(Lane, [Denoise(3)], None);
        Assert.Equal("d/job_1/3", Assert.Single(await worker.LeaseAsync(Request("w1", waitSeconds: 60), None)).Item.Id);
        Assert.Equal([true, true], await worker.ReportAsync("w1", [.. leases.Select(Finish)], None));
    }

    [Fact]
    public async Task A_report_that_does_not_tell_its_item_is_dropped_and_all_that_is_out_is_asked_for_once()
    {
        await using var farm = new TestFarm(redis);
        RedisWorkFeed head = await farm.HeadAsync();
        RedisWorkQueue worker = await farm.WorkerAsync();
        await head.FeedAsync(Lane, Denoises(2), None);
        IReadOnlyList<Lease> leases = await worker.LeaseAsync(Request("w1"), None);
        Assert.Equal([true], await worker.ReportAsync("w1", [Finish(leases[0])], None));
        Foreign.AddReport(redis, farm, Foreign.Bytes, "\u0001\u0005");
        Assert.Equal([true], await worker.ReportAsync("w1", [Finish(leases[1])], None));

        await using RedisWorkFeed next = await farm.HeadAsync();
        Assert.Equal(["d/job_1/0", "d/job_1/1"], Ids(await next.RecoverAsync(None)));
        IReadOnlyList<ReceivedReport> reports = await next.ReceiveAsync(10, TimeSpan.Zero, None);
        Assert.Equal(["d/job_1/0", "d/job_1/1"], reports.Select(report => report.Item.Id));
        Assert.True(await next.HasLostItemsAsync(None));
        Assert.False(await next.HasLostItemsAsync(None));
        Assert.Empty(await next.ReceiveAsync(10, TimeSpan.Zero, None));
        await next.ConfirmAsync(reports, None);
        Assert.Equal(["run"], farm.Keys);
        Assert.False(await next.HasLostItemsAsync(None));
    }

    [Fact]
    public async Task An_outcome_of_an_unknown_kind_is_an_item_given_back()
    {
        await using var farm = new TestFarm(redis);
        RedisWorkFeed head = await farm.HeadAsync();
        Foreign.AddReport(redis, farm, "\u0001\u0001", "\u0001c"); // neither item
        DenoiseItem item = Denoise(7);
        await head.FeedAsync(Lane, [item], None);
        Foreign.AddReportOnFirstItem(redis, farm, Stream, "\u0001c");
        ReceivedReport report = Assert.Single(await head.ReceiveAsync(10, TimeSpan.Zero, None));
        Assert.Equal((item.Id, (WorkOutcome)new ReturnedOutcome()), (report.Item.Id, report.Outcome));
    }

    [Fact]
    public async Task What_a_dead_worker_holds_and_nobody_can_read_neither_keeps_a_head_from_starting_nor_comes_back()
    {
        await using var farm = new TestFarm(redis, LeaseTime);
        RedisWorkFeed head = await farm.HeadAsync();
        await head.FeedAsync(Lane, [Denoise(0)], None);
        Foreign.AddItem(redis, farm, Stream);
        redis.Command("XREADGROUP", "GROUP", "w", "dead", "STREAMS", farm.Key(Stream), ">");

        await using RedisWorkFeed next = await farm.HeadAsync();
        Assert.Equal(["d/job_1/0"], Ids(await next.RecoverAsync(None)));
        var reclaimed = new List<WorkItem>();
        await UntilAsync(
            async () =>
            {
                reclaimed.AddRange(await next.ReclaimAsync(None));
                return reclaimed.Count > 0;
            },
            "the dead one's lease runs out");
        Assert.Equal(["d/job_1/0"], Ids(reclaimed));
        Assert.True(await next.HasLostItemsAsync(None));
        Assert.False(await next.HasLostItemsAsync(None));
        Assert.Empty(await next.ReclaimAsync(None));
        Assert.Equal(["run"], farm.Keys);
    }
}
