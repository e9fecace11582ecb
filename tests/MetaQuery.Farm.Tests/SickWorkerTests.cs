using MetaQuery.Farm.Tests.Doubles;

namespace MetaQuery.Farm.Tests;

/// <summary>Workers whose batches all fail, beside others and by themselves.</summary>
public sealed class SickWorkerTests : IDisposable
{
    private static readonly TimeSpan ShortLease = TimeSpan.FromMilliseconds(300); // of a worker, for which it rests; the queue's is longer

    private readonly Workspace _work = new();

    public void Dispose() => _work.Dispose();

    [Fact]
    public async Task No_image_is_given_up_for_what_one_sick_worker_does_and_it_works_again_once_it_is_well()
    {
        await using ToyFarm farm = await ToyFarm.StartAsync(_work["data"]);
        var cache = new ConditionCache(1 << 20, []);
        var log = new LogBook();
        bool isSick = true;
        var broken = new ToyModel
        {
            BeforeDenoise = (_, _) =>
            {
                if (Volatile.Read(ref isSick))
                {
                    throw new InvalidOperationException("no such device");
                }
            },
        };
        await using var sick = new HiredHost(farm, broken, cache, new WorkerOptions { Roles = WorkRoles.Dit, LeaseTime = ShortLease, Log = log });
        var sound = new ToyModel
        {
            // the sick one is faster: it gets all images until it rests, or until it would have had enough of them given up
            BeforeDenoise = (_, stop) => SpinWait.SpinUntil(
                () => stop.IsCancellationRequested || sick.Host.Status.Trouble is not null || sick.Host.Counters.FailedBatches >= 200, ToyFloor.Limit),
        };
        await using (var well = new HiredHost(farm, sound, cache, new WorkerOptions()))
        {
            JobView done = await farm.UntilEndedAsync((await SubmitAsync(farm, 500)).Id);
            Assert.Equal((JobState.Completed, 500L, 0L), (done.State, done.Counts.Written, done.Counts.Failed));
            Assert.InRange(sick.Host.Counters.FailedBatches, 3, long.MaxValue);
            Assert.Contains("batches of images failed, the last with: InvalidOperationException: no such device", sick.Host.Status.Trouble, StringComparison.Ordinal);
            Assert.Equal(17, Assert.Single(log.Entries).Id); // told once, however often it tries
        }

        Volatile.Write(ref isSick, false);
        await using var text = new HiredHost(farm, new ToyModel(), cache, new WorkerOptions { Roles = WorkRoles.Mllm });
        Assert.Equal(JobState.Completed, (await farm.UntilEndedAsync((await SubmitAsync(farm, 20)).Id)).State);
        Assert.Equal((20L, (string?)null), (sick.Host.Counters.Images, sick.Host.Status.Trouble));
    }

    [Fact]
    public async Task A_job_that_fails_on_every_worker_still_ends_with_its_reason()
    {
        await using ToyFarm farm = await ToyFarm.StartAsync(_work["data"]);
        var cache = new ConditionCache(1 << 20, []);
        var model = new ToyModel { BeforeDenoise = (_, _) => throw new InvalidOperationException("no such kernel") };
        await using var one = new HiredHost(farm, model, cache, new WorkerOptions { LeaseTime = ShortLease });
        await using var other = new HiredHost(farm, model, cache, new WorkerOptions { LeaseTime = ShortLease });
        JobView job = await farm.UntilEndedAsync((await SubmitAsync(farm, 500)).Id);
        Assert.Equal((JobState.Failed, "the first 50 images all failed, the last with: InvalidOperationException: no such kernel"), (job.State, job.Reason));
    }

    [Fact]
    public async Task A_job_that_fails_on_the_only_worker_ends_with_its_reason_before_a_leases_time_is_over()
    {
        await using ToyFarm farm = await ToyFarm.StartAsync(_work["data"]);
        var model = new ToyModel { BeforeDenoise = (_, _) => throw new InvalidOperationException("no such kernel") };
        await using var only = new HiredHost(farm, model, new ConditionCache(1 << 20, []), new WorkerOptions { LeaseTime = TimeSpan.FromHours(1) });
        JobView job = await farm.UntilEndedAsync((await SubmitAsync(farm, 500)).Id);
        Assert.Equal((JobState.Failed, "the first 50 images all failed, the last with: InvalidOperationException: no such kernel"), (job.State, job.Reason));
    }

    private static Task<JobView> SubmitAsync(ToyFarm farm, int images) => farm.SubmitAsync(
        [.. Enumerable.Range(0, images).Select(i => $"prompt {i % 10}")], spec => spec with { ImagesPerPrompt = 1, SamplesPerShard = 100 });
}
