using MetaQuery.Farm;
using MetaQuery.TestKit;
using Xunit.Abstractions;
using static MetaQuery.Redis.Tests.TestFarm;

namespace MetaQuery.Redis.Tests;

/// <summary>What the queue costs Redis, measured; docs/redis.md states it per million tasks.</summary>
public sealed class MemoryTests(ITestOutputHelper output)
{
    private static readonly CancellationToken None = CancellationToken.None;

    [Fact]
    public async Task Memory_follows_the_feeds_depth_and_never_the_number_of_tasks()
    {
        const int Depth = 1000;
        using var redis = RealRedis.With(appendOnly: false);
        await using var farm = new TestFarm(redis);
        RedisWorkFeed head = await farm.HeadAsync();
        RedisWorkQueue worker = await farm.WorkerAsync();
        async Task RunAsync(int items)
        {
            for (int first = 0; first < items; first += Depth)
            {
                await head.FeedAsync(Lane, [.. Enumerable.Range(first, Depth).Select(item => Encode($"a photograph of lighthouse number {item} at dusk, long exposure"))], None);
                while (await worker.LeaseAsync(Request("w1", WorkRoles.Mllm, most: 100), None) is { Count: > 0 } leases)
                {
                    await worker.ReportAsync("w1", [.. leases.Select(Finish)], None);
                }

                while (await head.ReceiveAsync(Depth, TimeSpan.Zero, None) is { Count: > 0 } reports)
                {
                    await head.ConfirmAsync(reports, None);
                }
            }

            await head.ReclaimAsync(None);
        }

        await RunAsync(2 * Depth); // scripts, buffers, connections
        long before = redis.UsedMemory();
        await RunAsync(15 * Depth);
        long after = redis.UsedMemory();
        output.WriteLine($"{before} bytes after 2,000 tasks, {after} after 17,000");
        Assert.InRange(after - before, -1 << 20, 128 << 10);
        Assert.Equal(["run"], farm.Keys);
    }

    [Fact]
    public async Task A_task_costs_less_than_600_bytes_whether_it_waits_is_leased_or_is_reported()
    {
        const int Items = 20_000;
        using var redis = RealRedis.With(appendOnly: false);
        await using var farm = new TestFarm(redis);
        RedisWorkFeed head = await farm.HeadAsync();
        RedisWorkQueue worker = await farm.WorkerAsync();
        await head.FeedAsync("warm", Denoises(100), None);
        long empty = redis.UsedMemory();
        await head.FeedAsync(Lane, [.. Denoises(Items).Select(item => item with
        {
            Prompt = new Data.PromptLine { Line = item.Position + 1, Index = item.Position, Prompt = $"a photograph of lighthouse number {item.Position} at dusk, long exposure" },
        })], None);
        double waiting = (redis.UsedMemory() - empty) / (double)Items;
        var leases = new List<Lease>();
        while (await worker.LeaseAsync(Request("w1", most: 500), None) is { Count: > 0 } some)
        {
            leases.AddRange(some);
        }

        double held = (redis.UsedMemory() - empty) / (double)Items;
        foreach (Lease[] some in leases.Chunk(500))
        {
            await worker.ReportAsync("w1", [.. some.Select(lease => new WorkReport(lease, new ReturnedOutcome()))], None);
        }

        double reported = (redis.UsedMemory() - empty) / (double)Items;
        output.WriteLine($"{waiting:0} bytes a waiting image, {held:0} a leased one, {reported:0} an unconfirmed report");
        Assert.InRange(waiting, 50, 600);
        Assert.InRange(held, 50, 600);
        Assert.InRange(reported, 50, 600);
    }
}
