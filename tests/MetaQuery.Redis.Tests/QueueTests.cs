using MetaQuery.Farm;
using MetaQuery.Farm.Tests.Doubles;
using MetaQuery.TestKit;
using static MetaQuery.Redis.Tests.TestFarm;

namespace MetaQuery.Redis.Tests;

/// <summary>The queue while nothing goes wrong.</summary>
public sealed class QueueTests(RealRedis redis) : IClassFixture<RealRedis>
{
    private static readonly CancellationToken None = CancellationToken.None;

    [Fact]
    public async Task Large_items_arrive_at_a_server_that_has_little_room_for_a_call()
    {
        using var small = RealRedis.With(["--maxmemory-clients", "16mb"], appendOnly: false); // a client that says more in one call is cut off
        await using var farm = new TestFarm(small);
        RedisWorkFeed head = await farm.HeadAsync();
        RedisWorkQueue worker = await farm.WorkerAsync();
        DenoiseItem[] items = [.. Enumerable.Range(0, 500).Select(i => Items.WithOtherFields(Job, i, 64 << 10))];
        await head.FeedAsync(Lane, items, None);
        var leased = new List<string>();
        while (await worker.LeaseAsync(Request("w1"), None) is { Count: > 0 } leases)
        {
            leased.AddRange(leases.Select(lease => lease.Item.Id));
        }

        Assert.Equal(items.Select(item => item.Id), leased);
    }

    [Fact]
    public async Task Items_are_leased_in_the_order_they_were_fed_and_reports_arrive_in_the_order_they_were_taken()
    {
        await using var farm = new TestFarm(redis);
        RedisWorkFeed head = await farm.HeadAsync();
        RedisWorkQueue worker = await farm.WorkerAsync();
        await head.FeedAsync(Lane, Denoises(1200), None);
        var leased = new List<Lease>();
        while (await worker.LeaseAsync(Request("w1", most: 100), None) is { Count: > 0 } leases)
        {
            leased.AddRange(leases);
        }

        Assert.Equal(Enumerable.Range(0, 1200).Select(position => $"d/{Job}/{position}"), leased.Select(lease => lease.Item.Id));
        foreach (Lease[] batch in leased.Chunk(100))
        {
            Assert.All(await worker.ReportAsync("w1", [.. batch.Select(Finish)], None), Assert.True);
        }

        var received = new List<ReceivedReport>();
        while (await head.ReceiveAsync(250, TimeSpan.Zero, None) is { Count: > 0 } reports)
        {
            received.AddRange(reports);
            await head.ConfirmAsync(reports, None);
        }

        Assert.Equal(leased.Select(lease => lease.Item.Id), received.Select(report => report.Item.Id));
        Assert.All(received, report =>
        {
            FinishedSample sample = Assert.IsType<DenoisedOutcome>(report.Outcome).Sample;
            Assert.Equal(((DenoiseItem)report.Item).Position, sample.Position);
            Assert.Equal([1, 2, (byte)sample.Position], sample.Image.ToArray());
            Assert.Equal("w1", report.Worker);
        });
        Assert.Empty(Directory.EnumerateFileSystemEntries(farm.Inbox));
    }

    [Fact]
    public async Task Who_asks_for_interactive_items_only_gets_no_others()
    {
        await using var farm = new TestFarm(redis);
        RedisWorkFeed head = await farm.HeadAsync();
        RedisWorkQueue worker = await farm.WorkerAsync();
        await head.FeedAsync(Lane, Denoises(5), None);
        Assert.Empty(await worker.LeaseAsync(Request("w1") with { IsInteractiveOnly = true }, None));
        await head.FeedAsync(Lane, Denoises(3, "job_2", JobPriority.Interactive), None);
        IReadOnlyList<Lease> leases = await worker.LeaseAsync(Request("w1") with { IsInteractiveOnly = true }, None);
        Assert.Equal(Enumerable.Range(0, 3).Select(position => $"d/job_2/{position}"), leases.Select(lease => lease.Item.Id));
        Assert.Equal(5, (await worker.LeaseAsync(Request("w1"), None)).Count);
    }

    [Fact]
    public async Task At_the_end_of_a_job_nothing_but_the_run_marker_is_left()
    {
        await using var farm = new TestFarm(redis);
        RedisWorkFeed head = await farm.HeadAsync();
        RedisWorkQueue worker = await farm.WorkerAsync();
        await head.FeedAsync(Lane, [Encode("a"), .. Denoises(10), .. Denoises(5, "job_2", JobPriority.Interactive), Denoise(99) with { RunsAlone = true }], None);
        Lease[] leases =
        [
            .. await worker.LeaseAsync(Request("w1", WorkRoles.Mllm), None), .. await worker.LeaseAsync(Request("w1"), None),
            (await worker.LeaseAloneAsync("w1", Lane, WorkRoles.Both, None))!,
        ];
        Assert.Equal(17, leases.Length);
        await worker.ReportAsync("w1", [.. leases.Select(Finish)], None);
        await head.ConfirmAsync(await head.ReceiveAsync(100, TimeSpan.Zero, None), None);
        await UntilAsync(async () => await head.ReclaimAsync(None) is { Count: 0 } && farm.Keys is ["run"], $"only the run's key: {string.Join(' ', farm.Keys)}");
    }

    [Fact]
    public async Task A_waiting_worker_is_woken_by_the_feed()
    {
        await using var farm = new TestFarm(redis);
        RedisWorkFeed head = await farm.HeadAsync();
        RedisWorkQueue worker = await farm.WorkerAsync();
        Task<IReadOnlyList<Lease>> waiting = worker.LeaseAsync(Request("w1", waitSeconds: 20), None).AsTask();
        await head.FeedAsync(Lane, Denoises(1), None);
        Assert.Single(await waiting);
    }

    [Fact]
    public async Task Interactive_items_go_first_and_every_sixteenth_is_a_bulk_one()
    {
        await using var farm = new TestFarm(redis);
        RedisWorkFeed head = await farm.HeadAsync();
        RedisWorkQueue worker = await farm.WorkerAsync();
        await head.FeedAsync(Lane, [.. Denoises(200), .. Denoises(320, "now", JobPriority.Interactive)], None);
        var leased = new List<Lease>();
        for (int i = 0; i < 80; i++)
        {
            leased.AddRange(await worker.LeaseAsync(Request("w1", most: 4), None));
        }

        Assert.Equal(320, leased.Count);
        Assert.InRange(leased.Count(lease => lease.Item.Priority == JobPriority.Bulk), 19, 21);
    }

    [Fact]
    public async Task Lanes_roles_and_items_that_run_alone_are_kept_apart()
    {
        await using var farm = new TestFarm(redis);
        RedisWorkFeed head = await farm.HeadAsync();
        RedisWorkQueue worker = await farm.WorkerAsync();
        await head.FeedAsync(Lane, [Encode("a"), Denoise(1), Denoise(2) with { RunsAlone = true }], None);
        await head.FeedAsync("another", [Denoise(3)], None);
        Assert.Equal(new LaneDepth(1, 1, 0, 0), await head.DepthAsync(Lane, None));
        Assert.True(await worker.HasAloneAsync(Lane, WorkRoles.Dit, None));
        Assert.False(await worker.HasAloneAsync(Lane, WorkRoles.Mllm, None));
        Assert.Equal([$"d/{Job}/1"], Ids((await worker.LeaseAsync(Request("w1"), None)).Select(lease => lease.Item)));
        Assert.Equal([$"d/{Job}/3"], Ids((await worker.LeaseAsync(Request("w1", lane: "another"), None)).Select(lease => lease.Item)));
        Assert.Single(await worker.LeaseAsync(Request("w1", WorkRoles.Mllm), None));
        Assert.Null(await worker.LeaseAloneAsync("w1", Lane, WorkRoles.Mllm, None));
        Assert.True((await worker.LeaseAloneAsync("w1", Lane, WorkRoles.Both, None))!.Item.RunsAlone);
        Assert.False(await worker.HasAloneAsync(Lane, WorkRoles.Both, None));
        Assert.Equal(new LaneDepth(0, 0, 3, 0), await head.DepthAsync(Lane, None));
    }

    [Fact]
    public async Task Every_outcome_reaches_the_head_as_it_was_reported()
    {
        await using var farm = new TestFarm(redis);
        RedisWorkFeed head = await farm.HeadAsync();
        RedisWorkQueue worker = await farm.WorkerAsync();
        await head.FeedAsync(Lane, Denoises(4), None);
        IReadOnlyList<Lease> leases = await worker.LeaseAsync(Request("w1"), None);
        WorkOutcome[] outcomes =
        [
            new FailedOutcome("no such thing: ü", 3), new MissingConditionOutcome(Encode("x").Key), new ReturnedOutcome(), new EncodedOutcome(WasMade: false),
        ];
        await worker.ReportAsync("w1", [.. leases.Zip(outcomes, (lease, outcome) => new WorkReport(lease, outcome))], None);
        Assert.Equal(outcomes, (await head.ReceiveAsync(10, TimeSpan.Zero, None)).Select(report => report.Outcome));
        Assert.Equal(4, (await head.DepthAsync(Lane, None)).UnconfirmedReports);
    }

    [Fact]
    public async Task A_withdrawn_job_is_gone_whether_it_waited_or_was_leased_and_its_holders_hear_of_it()
    {
        await using var farm = new TestFarm(redis);
        RedisWorkFeed head = await farm.HeadAsync();
        RedisWorkQueue worker = await farm.WorkerAsync();
        var heard = new TaskCompletionSource<string>();
        using IDisposable subscription = worker.OnWithdrawn(job => heard.TrySetResult(job));
        await head.FeedAsync(Lane, [.. Denoises(5, "stays"), .. Denoises(600, "goes"), Denoise(7, "goes") with { RunsAlone = true }, Encode("a")], None);
        IReadOnlyList<Lease> leases = await worker.LeaseAsync(Request("w1", most: 8), None);
        await head.WithdrawAsync("goes", None);
        Assert.Equal("goes", await heard.Task.WaitAsync(TimeSpan.FromSeconds(20)));
        Assert.Equal(3, (await worker.RenewAsync("w1", leases, None)).Count);
        Assert.Equal([true, true, true, true, true, false, false, false], await worker.ReportAsync("w1", [.. leases.Select(Finish)], None));
        Assert.Equal(new LaneDepth(1, 0, 0, 5), await head.DepthAsync(Lane, None));
        Assert.Empty(await worker.LeaseAsync(Request("w1"), None));
    }
}
