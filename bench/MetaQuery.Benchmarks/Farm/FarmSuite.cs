using MetaQuery.Farm;
using MetaQuery.Redis;

namespace MetaQuery.Benchmarks.Farm;

/// <summary>The farm itself, apart from the model: <c>./farm bench farm</c>. Each part is a method; all are ratios or rates within one run.</summary>
internal sealed class FarmSuite(BenchmarkReport report)
{
    /// <summary>The parts by name, in the order they run.</summary>
    public IReadOnlyList<(string Name, Func<Task> Measure)> Parts => [("queue", QueueInMemoryAsync), ("redis", QueueInRedisAsync)];

    /// <exception cref="BenchmarkException">A part could not be measured.</exception>
    public static async Task<BenchmarkReport> RunAsync(IReadOnlyList<string> only)
    {
        var report = new BenchmarkReport();
        report.Say("machine", $"{Machine.Name}, {Machine.Cores} cores");
        foreach (var (name, measure) in new FarmSuite(report).Parts)
        {
            if (only.Count == 0 || only.Contains(name, StringComparer.Ordinal))
            {
                Console.Error.WriteLine($"bench: {name}");
                await measure();
            }
        }

        return report;
    }

    private async Task QueueInMemoryAsync()
    {
        var bench = new QueueThroughput(Tasks: 400_000);
        using (var warm = new MemoryWorkQueue(TimeSpan.FromSeconds(30)))
        {
            await (bench with { Tasks = 50_000 }).MeasureAsync(warm, warm, _ => new ReturnedOutcome());
        }

        using (var queue = new MemoryWorkQueue(TimeSpan.FromSeconds(30)))
        {
            report.Add("memoryQueueTasksPerSecond", "queue in memory, lease and report, 32 at a time", "tasks/s", await bench.MeasureAsync(queue, queue, _ => new ReturnedOutcome()));
        }

        var folder = Directory.CreateTempSubdirectory("metaquery-bench-");
        try
        {
            using var queue = new MemoryWorkQueue(TimeSpan.FromSeconds(30), journalPath: Path.Combine(folder.FullName, "leases.log"));
            report.Add("journalledQueueTasksPerSecond", "the same, its leases journalled", "tasks/s", await bench.MeasureAsync(queue, queue, _ => new ReturnedOutcome()));
        }
        finally
        {
            folder.Delete(recursive: true);
        }
    }

    private async Task QueueInRedisAsync()
    {
        await using var redis = new RedisQueue(appendOnly: true);
        RedisWorkFeed feed = await redis.OpenFeedAsync();
        RedisWorkQueue queue = await redis.OpenQueueAsync();
        var bench = new QueueThroughput(Tasks: 100_000, Batch: 64);
        await (bench with { Tasks = 20_000 }).MeasureAsync(queue, feed, _ => new ReturnedOutcome());
        report.Add("redisQueueTasksPerSecond", "queue in Redis with appendonly, lease and report, 64 at a time", "tasks/s", await bench.MeasureAsync(queue, feed, _ => new ReturnedOutcome()));
        report.Add("redisQueueMebibytes", "Redis' memory after 120,000 tasks", "MiB", redis.UsedMemory / 1048576.0);
    }
}
