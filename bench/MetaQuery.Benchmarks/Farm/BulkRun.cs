using System.Diagnostics;
using MetaQuery.Farm;
using MetaQuery.Redis;
using MetaQuery.Silo.Hosting;
using MetaQuery.TestKit;

namespace MetaQuery.Benchmarks.Farm;

/// <summary>A bulk job on the real model through head, queue and workers, all in this process.</summary>
/// <param name="Prompts">Distinct prompts.</param>
/// <param name="ImagesPerPrompt">Pictures of each.</param>
internal sealed record BulkRun(int Prompts, int ImagesPerPrompt)
{
    private static readonly TimeSpan LeaseTime = TimeSpan.FromSeconds(30);
    private static readonly TimeSpan LookEvery = TimeSpan.FromMilliseconds(20);

    /// <summary>With the queue in memory.</summary>
    public async Task<BulkResult> InMemoryAsync(IFarmModel model, int slots)
    {
        var data = Directory.CreateTempSubdirectory("metaquery-bench-");
        try
        {
            using var queue = new MemoryWorkQueue(LeaseTime, journalPath: Path.Combine(data.FullName, "leases.log"));
            var registry = new MemoryWorkerRegistry(LeaseTime);
            using var worker = new WorkerHost(model, queue, registry, new ConditionCache(256 << 20, new DiskConditionTier(Path.Combine(data.FullName, "conditions"), 1L << 30)), Options(slots));
            return await RunAsync(model, queue, registry, Path.Combine(data.FullName, "data"), [worker]);
        }
        finally
        {
            data.Delete(recursive: true);
        }
    }

    /// <summary>Over a redis-server of its own; each worker has its own connections, as in a process of its own.</summary>
    public async Task<BulkResult> OverRedisAsync(IFarmModel model, int workers, int slots)
    {
        var data = Directory.CreateTempSubdirectory("metaquery-bench-");
        using RealRedis server = RealRedis.With(appendOnly: true);
        var open = new List<IAsyncDisposable>();
        var hosts = new List<WorkerHost>();
        var options = new RedisFarmOptions { Redis = RedisOptions.Parse(server.Address), DataFolder = data.FullName };
        try
        {
            RedisFarm head = Keep(await RedisFarm.ConnectAsync(options, CancellationToken.None));
            RedisWorkFeed feed = Keep(await RedisWorkFeed.OpenAsync(head.Connection, head.Queue));
            for (var i = 0; i < workers; i++)
            {
                RedisFarm farm = Keep(await RedisFarm.ConnectAsync(options, CancellationToken.None));
                RedisWorkQueue queue = Keep(await farm.OpenQueueAsync(CancellationToken.None));
                hosts.Add(new WorkerHost(model, queue, farm.CreateRegistry(), farm.CreateCache(256 << 20), Options(slots)));
            }

            return await RunAsync(model, feed, head.CreateRegistry(), data.FullName, hosts);
        }
        finally
        {
            hosts.ForEach(host => host.Dispose());
            foreach (IAsyncDisposable part in Enumerable.Reverse(open))
            {
                await part.DisposeAsync();
            }

            data.Delete(recursive: true);
        }

        T Keep<T>(T part)
            where T : IAsyncDisposable
        {
            open.Add(part);
            return part;
        }
    }

    private static WorkerOptions Options(int slots) => new() { Slots = slots, LeaseTime = LeaseTime };

    private async Task<BulkResult> RunAsync(IFarmModel model, IWorkFeed feed, IWorkerRegistry registry, string dataFolder, IReadOnlyList<WorkerHost> workers)
    {
        await using FarmHead head = await FarmHead.StartAsync(model.Description, feed, registry, new HeadOptions { DataFolder = dataFolder }, CancellationToken.None);
        Task[] working = [.. workers.Select(worker => worker.RunAsync(CancellationToken.None))];
        while (!head.Readiness.IsReady)
        {
            await Task.Delay(LookEvery);
        }

        var clock = Stopwatch.StartNew();
        JobView job = await head.SubmitAsync(
            new JobSubmission
            {
                Tenant = "bench",
                Spec = new JobSpec { OutFolder = "", Prompts = SamplePrompts.Take(Prompts), ImagesPerPrompt = ImagesPerPrompt },
            },
            CancellationToken.None);
        while (job.FinishedAt is null)
        {
            await Task.Delay(LookEvery);
            job = await head.GetAsync(new JobReference(job.Id, null), CancellationToken.None);
        }

        var elapsed = clock.Elapsed;
        if (job.State != JobState.Completed)
        {
            throw new BenchmarkException($"the bulk job ended as {job.State}: {job.Reason}");
        }

        FarmCounters counters = await head.CountAsync(CancellationToken.None);
        foreach (WorkerHost worker in workers)
        {
            worker.Drain();
        }

        await Task.WhenAll(working);
        SlotTimes[] times = [.. workers.SelectMany(worker => worker.SlotTimes)];
        return new BulkResult(
            job.Counts.Images / elapsed.TotalSeconds,
            times.Sum(slot => slot.IdleBetweenBatches.TotalSeconds) / times.Sum(slot => (slot.Encoding + slot.Denoising + slot.IdleBetweenBatches).TotalSeconds),
            counters.Passes, counters.PassesAgain);
    }
}

/// <param name="ImagesPerSecond">From the submission to the job's end.</param>
/// <param name="IdleShare">Of the slots' time from their first batch to their last: 0 to 1.</param>
/// <param name="Passes">Conditions made.</param>
/// <param name="PassesAgain">Of these: made before.</param>
internal sealed record BulkResult(double ImagesPerSecond, double IdleShare, long Passes, long PassesAgain);
