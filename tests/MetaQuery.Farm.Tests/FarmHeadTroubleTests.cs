using MetaQuery.Farm.Tests.Doubles;

namespace MetaQuery.Farm.Tests;

/// <summary>What a head meets outside of jobs: its own errors, folders that stay, requests that nothing can come of.</summary>
public sealed class FarmHeadTroubleTests : IDisposable
{
    private readonly Workspace _work = new();

    public void Dispose() => _work.Dispose();

    [Fact]
    public async Task A_broken_head_says_so_and_takes_no_job_that_nobody_would_work_on()
    {
        var clock = new BreakingClock();
        await using ToyFarm farm = await ToyFarm.StartAsync(_work["data"], new HeadOptions { DataFolder = "", Clock = clock });
        clock.Break();
        await farm.Head.Broken.WaitAsync(TimeSpan.FromSeconds(60));
        var refused = await Assert.ThrowsAsync<HeadBrokenException>(() => farm.SubmitAsync(["a"]));
        Assert.True(refused.IsTransient);
        Assert.Equal(ExitCodes.Unexpected, refused.ExitCode);
        Assert.Contains("the clock is broken", refused.Message, StringComparison.Ordinal);
        Assert.False(farm.Head.Readiness.IsReady);
    }

    [Fact]
    public async Task A_deleted_jobs_folder_that_cannot_be_removed_yet_goes_later_and_the_head_goes_on()
    {
        await using ToyFarm farm = await ToyFarm.StartAsync(_work["data"]);
        string id = (await farm.SubmitAsync(["a"])).Id;
        string folder = _work[$"data/jobs/{id}"];
        SmallDisk? held = SmallDisk.TryMount(Path.Combine(folder, "held"), kibibytes: 64, out string? why); // a folder that is busy, as NFS has them
        if (held is null)
        {
            Console.WriteLine($"not covered here: {why}");
            return;
        }

        await farm.ApplyAsync(id, JobCommand.Cancel);
        await farm.ApplyAsync(id, JobCommand.Delete);
        await Assert.ThrowsAsync<JobNotFoundException>(() => farm.GetAsync(id));
        Assert.True(Directory.Exists(folder));
        await using ToyWorker worker = farm.Hire();
        Assert.Equal(JobState.Completed, (await farm.UntilEndedAsync((await farm.SubmitAsync(["b"])).Id)).State);
        Assert.False(farm.Head.Broken.IsCompleted);
        held.Dispose();
        await ToyFloor.Until(() => !Directory.Exists(folder));
    }

    [Fact]
    public async Task A_job_that_fits_no_limit_is_told_so_rather_than_to_come_again()
    {
        await using ToyFarm farm = await ToyFarm.StartAsync(_work["data"], new HeadOptions { DataFolder = "", MaxQueuedImages = 5 });
        Assert.Contains("at most 5", (await Assert.ThrowsAsync<JobSpecException>(() => farm.SubmitAsync(["a", "b"]))).Message, StringComparison.Ordinal);
        await farm.SubmitAsync(["a"]);
        await Assert.ThrowsAsync<QueueFullException>(() => farm.SubmitAsync(["b"]));
        var usage = new TenantUsage("t", 0, 0);
        Assert.Contains("at most 5 a day", Assert.Throws<JobSpecException>(() => new TenantRules(ImagesPerDay: 5).Check(usage, 6, DateTimeOffset.UnixEpoch)).Message, StringComparison.Ordinal);
        Assert.Contains("at most 5;", Assert.Throws<JobSpecException>(() => new TenantRules(MaxQueuedImages: 5).Check(usage, 6, DateTimeOffset.UnixEpoch)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_repeated_submission_with_a_later_deadline_is_the_same_job()
    {
        await using ToyFarm farm = await ToyFarm.StartAsync(_work["data"]);
        Task<JobView> Submit(int minutes) =>
            farm.SubmitAsync(["a"], and: submission => submission with { IdempotencyKey = "k", Deadline = DateTimeOffset.UtcNow.AddMinutes(minutes) });
        Assert.Equal((await Submit(60)).Id, (await Submit(61)).Id);
    }

    [Fact]
    public async Task Counts_of_images_do_not_fall_when_a_job_is_deleted()
    {
        await using ToyFarm farm = await ToyFarm.StartAsync(_work["data"]);
        await using ToyWorker worker = farm.Hire();
        string id = (await farm.UntilEndedAsync((await farm.SubmitAsync(["a"])).Id)).Id;
        await farm.ApplyAsync(id, JobCommand.Delete);
        Assert.Equal(3, (await farm.Head.CountAsync(CancellationToken.None)).ImagesWritten);
    }

    [Fact]
    public void Workers_counts_do_not_fall_when_workers_go_or_begin_anew()
    {
        var totals = new WorkerTotals();
        totals.Take([Worker("a", hits: 10, refused: 2), Worker("b", hits: 5, refused: 0)]);
        totals.Take([Worker("b", hits: 7, refused: 1)]); // a was not heard of for a moment
        totals.Take([Worker("a", hits: 11, refused: 2), Worker("b", hits: 3, refused: 1)]); // b began anew
        Assert.Equal((21L, 3L), (totals.Read().Cache.MemoryHits, totals.Read().RefusedReports));
        Assert.Equal(200, totals.Read().Cache.MemoryBytes);
        totals.Take([]);
        Assert.Equal((21L, 0L), (totals.Read().Cache.MemoryHits, totals.Read().Cache.MemoryBytes));

        static WorkerView Worker(string id, long hits, long refused)
        {
            (ConditionIdentity conditions, ImageModelInfo images) = new ToyModel().Description;
            var status = new WorkerStatus(WorkerState.Running, [], 0, 0, 0, 0, 0, new ConditionCacheCounters(hits, 0, 0, 0, 0, 0, 100, 0)) { RefusedReports = refused };
            return new WorkerView(new WorkerInfo(id, "here", 1, WorkRoles.Both, 1, "cpu", "lane", conditions, images, DateTimeOffset.UnixEpoch), status, TimeSpan.Zero);
        }
    }
}
