using MetaQuery.Farm;
using MetaQuery.TestKit;
using static MetaQuery.Redis.Tests.TestFarm;

namespace MetaQuery.Redis.Tests;

/// <summary>Connections that end between a step and its answer.</summary>
public sealed class LostAnswerTests
{
    private static readonly CancellationToken None = CancellationToken.None;

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    public async Task Connections_that_are_cut_and_answers_that_get_lost_lose_and_double_nothing(int seed)
    {
        const int Items = 1500;
        using var redis = new RealRedis();
        await using var proxy = new LossyProxy(redis.Port, oneIn: 30, seed);
        await using var farm = new TestFarm(redis) { Address = proxy.Address };
        RedisWorkFeed head = await farm.HeadAsync();
        RedisWorkQueue[] workers = [await farm.WorkerAsync(), await farm.WorkerAsync()];
        using var done = new CancellationTokenSource();
        proxy.IsLossy = true;
        Task cutting = Task.Run(async () =>
        {
            for (int cut = 0; cut < 5 || proxy.Lost < 8; cut++)
            {
                await Task.Delay(100);
                redis.CutConnections();
            }

            proxy.IsLossy = false;
        });
        Task feeding = Task.Run(async () =>
        {
            foreach (DenoiseItem[] items in Denoises(Items).Chunk(50))
            {
                await head.FeedAsync(Lane, items, None);
                await Task.Delay(10);
            }
        });
        Task working = Task.WhenAll(workers.Select((worker, number) => Task.Run(async () =>
        {
            while (!done.IsCancellationRequested)
            {
                try
                {
                    IReadOnlyList<Lease> leases = await worker.LeaseAsync(Request($"w{number}", most: 16, waitSeconds: 0.05), None);
                    if (leases.Count > 0)
                    {
                        Assert.Empty(await worker.RenewAsync($"w{number}", leases, None));
                        Assert.All(await worker.ReportAsync($"w{number}", [.. leases.Select(Finish)], None), Assert.True);
                    }
                }
                catch (WorkQueueException)
                {
                    // a lease is asked for once; whoever wants it asks again
                }
            }
        })));
        var ended = new List<string>();
        await UntilAsync(
            async () =>
            {
                try
                {
                    IReadOnlyList<ReceivedReport> reports = await head.ReceiveAsync(100, TimeSpan.FromSeconds(0.05), None);
                    await head.ConfirmAsync(reports, None);
                    ended.AddRange(reports.Select(report => { Assert.IsType<DenoisedOutcome>(report.Outcome); return report.Item.Id; }));
                }
                catch (WorkQueueException)
                {
                    // as above
                }

                return ended.Count >= Items && cutting.IsCompleted;
            },
            $"all reported: {ended.Count}");
        await Task.WhenAll(cutting, feeding);
        await done.CancelAsync();
        await working;
        Assert.Equal(Items, ended.Distinct().Count());
        Assert.Equal(Items, ended.Count);
        Assert.Equal(new LaneDepth(0, 0, 0, 0), await head.DepthAsync(Lane, None));
        Assert.Empty(Directory.GetFiles(farm.Inbox));
    }

    [Theory]
    [InlineData(10)]
    [InlineData(0.001)] // the error reaches the head, which asks again
    public async Task What_a_dead_worker_held_is_taken_back_once_although_the_answer_got_lost(double patienceSeconds)
    {
        using var redis = new RealRedis();
        await using var proxy = new LossyProxy(redis.Port, oneIn: 1, seed: 0);
        await using var farm = new TestFarm(redis, TimeSpan.FromMilliseconds(400), TimeSpan.FromSeconds(patienceSeconds)) { Address = proxy.Address };
        RedisWorkFeed head = await farm.HeadAsync();
        IReadOnlyList<Lease> leases = await LeaseToTheDeadAsync(farm, head);
        proxy.LoseAnswerTo = "answer:";
        var back = new List<string>();
        await UntilAsync(
            async () =>
            {
                try
                {
                    back.AddRange((await head.ReclaimAsync(None)).Select(item => item.Id));
                }
                catch (WorkQueueException)
                {
                    // as the head does
                }

                return back.Count > 0;
            },
            "taken back");
        Assert.Equal(1, proxy.Lost);
        Assert.Equal(Ids(leases.Select(lease => lease.Item)), back.Order(StringComparer.Ordinal));
        Assert.Empty(await head.ReclaimAsync(None));
    }

    [Fact]
    public async Task What_a_dead_worker_held_is_fed_again_and_counts_no_death_where_the_answer_got_lost_and_redis_threw_it_away()
    {
        using var redis = new RealRedis();
        await using var proxy = new LossyProxy(redis.Port, oneIn: 1, seed: 0);
        await using var farm = new TestFarm(redis, TimeSpan.FromMilliseconds(400), TimeSpan.FromSeconds(0.001)) { Address = proxy.Address };
        RedisWorkFeed head = await farm.HeadAsync();
        IReadOnlyList<Lease> leases = await LeaseToTheDeadAsync(farm, head);
        proxy.LoseAnswerTo = "answer:";
        var back = new List<string>();
        await UntilAsync(
            async () =>
            {
                try
                {
                    Assert.Empty(await head.ReclaimAsync(None)); // a late worker may have reported them
                    back.AddRange(head.TakeDoubtful().Select(item => item.Id));
                }
                catch (WorkQueueException)
                {
                    foreach (string key in farm.Keys.Where(key => key.StartsWith("answer:", StringComparison.Ordinal)))
                    {
                        redis.Command("DEL", farm.Key(key)); // as a full server does with keys that have a time to live
                    }
                }

                return back.Count > 0;
            },
            "taken back");
        Assert.Equal(1, proxy.Lost);
        Assert.Equal(Ids(leases.Select(lease => lease.Item)), back.Order(StringComparer.Ordinal));
        Assert.Empty(await head.ReclaimAsync(None));
        Assert.Empty(head.TakeDoubtful());
    }

    [Fact]
    public async Task Reports_that_are_repeated_all_through_an_outage_write_their_file_once()
    {
        using var redis = new RealRedis();
        await using var farm = new TestFarm(redis, patience: TimeSpan.FromSeconds(0.1)) { CommandTimeout = TimeSpan.FromSeconds(0.2) };
        RedisWorkFeed head = await farm.HeadAsync();
        RedisWorkQueue worker = await farm.WorkerAsync();
        await head.FeedAsync(Lane, Denoises(3), None);
        WorkReport[] reports = [.. (await worker.LeaseAsync(Request("w1"), None)).Select(Finish)];
        redis.Kill();
        await Assert.ThrowsAsync<WorkQueueException>(async () => await worker.ReportAsync("w1", reports, None));
        await Assert.ThrowsAsync<WorkQueueException>(async () => await worker.ReportAsync("w1", reports, None));
        await Assert.ThrowsAsync<WorkQueueException>(async () => await worker.ReportAsync("w1", reports[1..], None)); // one was withdrawn meanwhile
        Assert.Single(Directory.GetFiles(farm.Inbox));
        redis.Start();
        IReadOnlyList<ReceivedReport> received = [];
        await UntilAsync(
            async () =>
            {
                try
                {
                    Assert.All(await worker.ReportAsync("w1", reports[1..], None), Assert.True);
                    return true;
                }
                catch (WorkQueueException)
                {
                    return false; // not connected yet
                }
            },
            "reported");
        await UntilAsync(
            async () =>
            {
                try
                {
                    received = await head.ReceiveAsync(10, TimeSpan.Zero, None);
                    await head.ConfirmAsync(received, None);
                }
                catch (WorkQueueException)
                {
                    return false; // as above
                }

                return received.Count > 0;
            },
            "received");
        Assert.Equal([1L, 2L], received.Select(report => Assert.IsType<DenoisedOutcome>(report.Outcome).Sample.Position));
        Assert.Empty(Directory.GetFiles(farm.Inbox));
    }

    // Twenty items of a worker that is silent for longer than its lease of 400 ms.
    private static async Task<IReadOnlyList<Lease>> LeaseToTheDeadAsync(TestFarm farm, RedisWorkFeed head)
    {
        RedisWorkQueue worker = await farm.WorkerAsync();
        await head.FeedAsync(Lane, Denoises(20), None);
        IReadOnlyList<Lease> leases = await worker.LeaseAsync(Request("dead", most: 20), None);
        long start = TimeProvider.System.GetTimestamp();
        await UntilAsync(async () => { await head.ReceiveAsync(1, TimeSpan.Zero, None); return TimeProvider.System.GetElapsedTime(start) > TimeSpan.FromSeconds(1); }, "idle");
        return leases;
    }
}
