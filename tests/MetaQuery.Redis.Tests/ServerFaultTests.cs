using MetaQuery.Farm;
using MetaQuery.TestKit;
using static MetaQuery.Redis.Tests.TestFarm;

namespace MetaQuery.Redis.Tests;

/// <summary>What a redis-server can do to the farm, each test on one of its own.</summary>
public sealed class ServerFaultTests
{
    private static readonly CancellationToken None = CancellationToken.None;

    [Fact]
    public async Task A_server_killed_and_restarted_with_appendonly_has_lost_nothing()
    {
        using var redis = new RealRedis();
        await using var farm = new TestFarm(redis);
        RedisWorkFeed head = await farm.HeadAsync();
        RedisWorkQueue worker = await farm.WorkerAsync();
        await head.FeedAsync(Lane, Denoises(100), None);
        IReadOnlyList<Lease> reported = await worker.LeaseAsync(Request("w1", most: 10), None);
        IReadOnlyList<Lease> held = await worker.LeaseAsync(Request("w1", most: 10), None);
        await worker.ReportAsync("w1", [.. reported.Select(Finish)], None);
        redis.Kill();
        Task<IReadOnlyList<bool>> late = worker.ReportAsync("w1", [.. held.Select(Finish)], None).AsTask(); // waits for the server
        await Task.Delay(100);
        Assert.False(late.IsCompleted);
        redis.Start();
        Assert.All(await late, Assert.True);
        Assert.False(await head.HasLostItemsAsync(None));
        Assert.Equal(20, (await head.ReceiveAsync(100, TimeSpan.FromSeconds(20), None)).Count);
        Assert.Equal(new LaneDepth(0, 80, 0, 20), await head.DepthAsync(Lane, None));
        await head.FeedAsync(Lane, [Denoise(100)], None);
        Assert.Equal(81, (await worker.LeaseAsync(Request("w1", most: 100), None)).Count);
    }

    [Fact]
    public async Task A_server_that_comes_back_empty_is_noticed_once_and_leases_from_before_are_void()
    {
        using var redis = new RealRedis();
        await using var farm = new TestFarm(redis);
        RedisWorkFeed head = await farm.HeadAsync();
        RedisWorkQueue worker = await farm.WorkerAsync();
        await head.FeedAsync(Lane, Denoises(4), None);
        IReadOnlyList<Lease> before = await worker.LeaseAsync(Request("w1", most: 2), None);
        redis.Kill();
        redis.LoseData();
        redis.Start();
        await Assert.ThrowsAsync<WorkQueueException>(async () => await head.FeedAsync(Lane, Denoises(1), None));
        Assert.Empty(farm.Keys);
        Assert.True(await head.HasLostItemsAsync(None));
        Assert.False(await head.HasLostItemsAsync(None));
        Assert.All(await worker.ReportAsync("w1", [.. before.Select(Finish)], None), Assert.False);
        await head.FeedAsync(Lane, Denoises(4), None);
        Assert.Equal(before, await worker.RenewAsync("w1", before, None)); // the same entry ids, in another life of the data
        IReadOnlyList<Lease> after = await worker.LeaseAsync(Request("w1"), None);
        Assert.Equal(4, after.Count);
        Assert.All(await worker.ReportAsync("w1", [.. before.Select(Finish)], None), Assert.False);
        Assert.All(await worker.ReportAsync("w1", [.. after.Select(Finish)], None), Assert.True);
        Assert.Equal(4, (await head.ReceiveAsync(10, TimeSpan.FromSeconds(20), None)).Count);
    }

    [Fact]
    public async Task A_server_that_lost_its_last_writes_is_noticed_too_and_reports_that_it_kept_stay()
    {
        using var redis = new RealRedis();
        await using var farm = new TestFarm(redis);
        RedisWorkFeed head = await farm.HeadAsync();
        RedisWorkQueue worker = await farm.WorkerAsync();
        await head.FeedAsync(Lane, Denoises(4), None);
        IReadOnlyList<Lease> leases = await worker.LeaseAsync(Request("w1", most: 3), None);
        await worker.ReportAsync("w1", [Finish(leases[0])], None);
        IReadOnlyList<ReceivedReport> received = await head.ReceiveAsync(10, TimeSpan.Zero, None);
        Assert.Single(received);
        redis.Command("HSET", farm.Key("run"), "fed", "3"); // as if the last item had been fed within the second that fsync had not reached
        Assert.True(await head.HasLostItemsAsync(None));
        Assert.All(await worker.ReportAsync("w1", [.. leases.Skip(1).Select(Finish)], None), Assert.False);
        Assert.Equal(new LaneDepth(0, 0, 0, 1), await head.DepthAsync(Lane, None));
        Assert.Empty(await head.ReceiveAsync(10, TimeSpan.Zero, None)); // received once
        await head.ConfirmAsync(received, None);
        Assert.Equal(["run"], farm.Keys);
    }

    [Fact]
    public async Task After_a_restart_reports_under_numbers_that_were_there_before_are_received_and_no_old_confirmation_touches_them()
    {
        using var redis = new RealRedis();
        await using var farm = new TestFarm(redis);
        RedisWorkFeed head = await farm.HeadAsync();
        RedisWorkQueue worker = await farm.WorkerAsync();
        await head.FeedAsync(Lane, Denoises(4), None);
        IReadOnlyList<Lease> leases = await worker.LeaseAsync(Request("w1"), None);
        await worker.ReportAsync("w1", [Finish(leases[0]), Finish(leases[1])], None);
        IReadOnlyList<ReceivedReport> before = await head.ReceiveAsync(10, TimeSpan.Zero, None);
        redis.Command("DEL", farm.Key("reports")); // as if both had been written within the second that fsync had not reached
        redis.Command("HSET", farm.Key("run"), "reported", "0");
        redis.Kill();
        redis.Start();
        await worker.ReportAsync("w1", [Finish(leases[2]), Finish(leases[3])], None);
        Assert.False(await head.HasLostItemsAsync(None));
        await head.ConfirmAsync(before, None);
        IReadOnlyList<ReceivedReport> after = await head.ReceiveAsync(10, TimeSpan.FromSeconds(20), None);
        Assert.Equal(Ids(leases.Skip(2).Select(lease => lease.Item)), Ids(after.Select(report => report.Item)));
        await head.ConfirmAsync(after, None);
        Assert.Empty(await head.ReceiveAsync(10, TimeSpan.Zero, None));
    }

    [Fact]
    public async Task A_reading_during_which_all_is_to_be_read_again_loses_no_report()
    {
        using var redis = new RealRedis();
        await using var farm = new TestFarm(redis);
        RedisWorkFeed head = await farm.HeadAsync();
        RedisWorkQueue worker = await farm.WorkerAsync();
        await head.FeedAsync(Lane, Denoises(2), None);
        IReadOnlyList<Lease> leases = await worker.LeaseAsync(Request("w1"), None);
        var contact = new ContactClock(farm.Options.LeaseTime, TimeProvider.System);
        await using var reader = new ReportReader(await farm.ConnectAsync(), farm.Options, TimeProvider.System, head: "", dropped: () => { });
        await worker.ReportAsync("w1", [Finish(leases[0])], None);
        Assert.Single(await reader.ReceiveAsync(10, TimeSpan.Zero, contact, None));
        await worker.ReportAsync("w1", [Finish(leases[1])], None);
        redis.Pause();
        Task<IReadOnlyList<ReceivedReport>> reading = reader.ReceiveAsync(10, TimeSpan.Zero, contact, None).AsTask(); // has asked the server
        reader.StartAgain();
        redis.Resume();
        Assert.Equal(leases[1].Item.Id, Assert.Single(await reading).Item.Id);
        Assert.Empty(await reader.ReceiveAsync(10, TimeSpan.Zero, contact, None)); // each is received once
    }

    [Fact]
    public async Task A_head_after_a_loss_that_no_head_noticed_gives_no_entry_id_out_twice()
    {
        using var redis = new RealRedis();
        await using var farm = new TestFarm(redis);
        RedisWorkQueue worker = await farm.WorkerAsync();
        await (await farm.HeadAsync()).FeedAsync(Lane, [Denoise(1)], None);
        IReadOnlyList<Lease> before = await worker.LeaseAsync(Request("late"), None);
        foreach (string key in farm.Keys.Where(key => key != "run"))
        {
            redis.Command("DEL", farm.Key(key)); // as if the item had been fed within the second that fsync had not reached
        }

        redis.Command("HSET", farm.Key("run"), "fed", "0");
        await (await farm.HeadAsync()).FeedAsync(Lane, [Denoise(2)], None);
        IReadOnlyList<Lease> after = await worker.LeaseAsync(Request("late"), None);
        Assert.NotEqual(before[0].Token, Assert.Single(after).Token);
        Assert.Equal([false], await worker.ReportAsync("late", [.. before.Select(Finish)], None));
        Assert.Equal([true], await worker.ReportAsync("late", [.. after.Select(Finish)], None));
    }

    [Fact]
    public async Task What_could_not_be_confirmed_while_the_server_was_away_is_confirmed_later()
    {
        using var redis = new RealRedis();
        await using var farm = new TestFarm(redis, patience: TimeSpan.FromSeconds(0.2)) { CommandTimeout = TimeSpan.FromSeconds(0.4) };
        RedisWorkFeed head = await farm.HeadAsync();
        RedisWorkQueue worker = await farm.WorkerAsync();
        await head.FeedAsync(Lane, Denoises(2), None);
        await worker.ReportAsync("w1", [.. (await worker.LeaseAsync(Request("w1"), None)).Select(Finish)], None);
        IReadOnlyList<ReceivedReport> reports = await head.ReceiveAsync(10, TimeSpan.Zero, None);
        redis.Kill();
        await Assert.ThrowsAsync<WorkQueueException>(async () => await head.ConfirmAsync(reports, None));
        redis.Start();
        await UntilAsync(
            async () =>
            {
                try
                {
                    await head.ReclaimAsync(None);
                }
                catch (WorkQueueException)
                {
                    // not connected yet
                }

                return farm.Keys is ["run"] && Directory.GetFiles(farm.Inbox).Length == 0;
            },
            "confirmed");
    }

    [Fact]
    public async Task A_server_that_stood_still_longer_than_a_lease_costs_no_living_worker_its_lease()
    {
        TimeSpan lease = TimeSpan.FromSeconds(0.8);
        using var redis = new RealRedis();
        await using var farm = new TestFarm(redis, lease);
        RedisWorkFeed head = await farm.HeadAsync();
        RedisWorkQueue worker = await farm.WorkerAsync();
        await head.FeedAsync(Lane, Denoises(3), None);
        IReadOnlyList<Lease> leases = await worker.LeaseAsync(Request("w1"), None);
        using var done = new CancellationTokenSource();
        Task beating = Task.Run(async () =>
        {
            while (!done.IsCancellationRequested)
            {
                Assert.Empty(await worker.RenewAsync("w1", leases, None));
                await Task.Delay(lease / 4);
            }
        });
        long start = TimeProvider.System.GetTimestamp();
        await UntilAsync(async () => { Assert.Empty(await head.ReclaimAsync(None)); return TimeProvider.System.GetElapsedTime(start) > lease * 1.5; }, "steady");
        redis.Pause();
        await Task.Delay(lease * 1.5);
        redis.Resume();
        start = TimeProvider.System.GetTimestamp();
        await UntilAsync(async () => { Assert.Empty(await head.ReclaimAsync(None)); return TimeProvider.System.GetElapsedTime(start) > lease * 1.5; }, "steady again");
        await done.CancelAsync();
        await beating;
        Assert.All(await worker.ReportAsync("w1", [.. leases.Select(Finish)], None), Assert.True);
    }

    [Fact]
    public async Task A_server_that_is_away_for_longer_than_patience_is_a_transient_error_of_one_line()
    {
        using var redis = new RealRedis();
        await using var farm = new TestFarm(redis, patience: TimeSpan.FromSeconds(0.3)) { CommandTimeout = TimeSpan.FromSeconds(0.4) };
        RedisWorkFeed head = await farm.HeadAsync();
        RedisWorkQueue worker = await farm.WorkerAsync();
        await head.FeedAsync(Lane, Denoises(3), None);
        IReadOnlyList<Lease> leases = await worker.LeaseAsync(Request("w1", most: 1), None);
        redis.Kill();
        Func<Task>[] calls =
        [
            async () => await worker.LeaseAsync(Request("w1"), None), async () => await worker.RenewAsync("w1", leases, None),
            async () => await worker.ReportAsync("w1", [Finish(leases[0])], None), async () => await head.FeedAsync(Lane, Denoises(1), None),
            async () => await head.ReceiveAsync(1, TimeSpan.Zero, None), async () => await head.HasLostItemsAsync(None),
        ];
        WorkQueueException[] errors = await Task.WhenAll(calls.Select(call => Assert.ThrowsAsync<WorkQueueException>(call)));
        Assert.All(errors, error =>
        {
            Assert.True(error.IsTransient);
            Assert.StartsWith($"redis at {redis.Address} ", error.Message, StringComparison.Ordinal);
            Assert.DoesNotContain('\n', error.Message);
        });
        redis.Start();
        await UntilAsync(
            async () =>
            {
                try
                {
                    return (await head.DepthAsync(Lane, None)).Leased == 1;
                }
                catch (WorkQueueException)
                {
                    return false;
                }
            },
            "connected again");
    }

    [Fact]
    public async Task A_full_server_refuses_and_goes_on_when_there_is_room()
    {
        using var redis = new RealRedis();
        await using var farm = new TestFarm(redis, patience: TimeSpan.FromSeconds(0.3));
        RedisWorkFeed head = await farm.HeadAsync();
        RedisWorkQueue worker = await farm.WorkerAsync();
        await head.FeedAsync(Lane, Denoises(20), None);
        redis.Command("CONFIG", "SET", "maxmemory", "1mb");
        var error = await Assert.ThrowsAsync<WorkQueueException>(async () => await head.FeedAsync(Lane, Denoises(20), None));
        Assert.Contains("is full: raise its maxmemory", error.Message, StringComparison.Ordinal);
        redis.Command("CONFIG", "SET", "maxmemory", "0");
        Assert.False(await head.HasLostItemsAsync(None));
        await head.FeedAsync(Lane, Denoises(20), None);
        Assert.Equal(40, (await worker.LeaseAsync(Request("w1", most: 100), None)).Count);
    }
}
