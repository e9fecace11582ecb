using MetaQuery.Farm;
using MetaQuery.Redis;
using MetaQuery.Silo;
using MetaQuery.TestKit;

namespace MetaQuery.Benchmarks.Farm;

/// <summary>The farm itself, apart from the model: <c>./farm bench farm</c>. Each part is a method; all are ratios or rates within one run.</summary>
internal sealed class FarmSuite(BenchmarkReport report)
{
    private static readonly BulkRun Bulk = new(Prompts: 48, ImagesPerPrompt: 4);

    /// <summary>The parts by name, in the order they run.</summary>
    public IReadOnlyList<(string Name, Func<Task> Measure)> Parts =>
    [
        ("queue", QueueInMemoryAsync), ("redis", QueueInRedisAsync), ("slots", SlotsAsync), ("workers", WorkersAsync),
        ("million", new MillionPrompts(report).MeasureAsync), ("watchers", WatchersAsync),
    ];

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

    private async Task SlotsAsync()
    {
        using LocalModel model = LoadNano();
        BulkResult embedded = await Bulk.InMemoryAsync(model, slots: 2);
        AddBulk("embedded", "two slots, embedded", embedded);
        BulkResult redis = await Bulk.OverRedisAsync(model, workers: 1, slots: 2);
        AddBulk("redis", "two slots, over Redis", redis);
        report.AddRatio("redisOverEmbeddedRatio", "images/s over Redis to embedded", redis.ImagesPerSecond / embedded.ImagesPerSecond);
    }

    private async Task WorkersAsync()
    {
        using LocalModel model = LoadNano();
        BulkResult one = await Bulk.OverRedisAsync(model, workers: 1, slots: 1);
        BulkResult two = await Bulk.OverRedisAsync(model, workers: 2, slots: 1);
        BulkResult again = await Bulk.OverRedisAsync(model, workers: 1, slots: 1); // before and after: a machine that slows down favours neither
        AddBulk("twoWorkers", "two workers of one thread, over Redis", two);
        report.AddRatio("twoWorkersRatio", "images/s of two workers to one's", two.ImagesPerSecond / ((one.ImagesPerSecond + again.ImagesPerSecond) / 2));
    }

    private async Task WatchersAsync()
    {
        CrowdResult seen = await WatchingCrowd.MeasureAsync();
        report.Add("watchersEventsPerSecond", "a thousand clients of one job: events each, at most", "events/s", seen.MostPerClient / seen.Time.TotalSeconds);
        report.Add("watchersMedianMilliseconds", "behind the first of them, median", "ms", seen.MedianMilliseconds);
        report.Add("watchersP99Milliseconds", "behind the first of them, 99th percentile", "ms", seen.P99Milliseconds);
    }

    private static LocalModel LoadNano() => LocalModel.Load(Repository.PathOf("models", "nano"));

    private void AddBulk(string key, string what, BulkResult result)
    {
        report.Add($"{key}ImagesPerSecond", $"bulk job, {what}", "images/s", result.ImagesPerSecond);
        report.Add($"{key}IdlePercent", $"slots idle, {what}", "%", 100 * result.IdleShare);
        report.Add($"{key}PassesOverDistinct", $"condition passes beyond the {Bulk.Prompts} prompts and the empty one, {what}", "passes", result.Passes - Bulk.Prompts - 1);
        report.Add($"{key}PassesAgain", $"of these made again, {what}", "passes", result.PassesAgain);
    }
}
