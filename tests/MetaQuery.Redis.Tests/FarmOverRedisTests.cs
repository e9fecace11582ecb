using MetaQuery.Farm;
using MetaQuery.Farm.Tests.Doubles;
using MetaQuery.TestKit;

namespace MetaQuery.Redis.Tests;

/// <summary>The real head and real workers, meeting only in Redis and in the data folder; the model is a toy.</summary>
public sealed class FarmOverRedisTests : IDisposable
{
    private const int Images = 3;
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(60);

    private readonly Workspace _work = new();
    private readonly RealRedis _redis = new();

    public void Dispose()
    {
        _redis.Dispose();
        _work.Dispose();
    }

    [Fact]
    public async Task A_job_gives_the_bytes_of_an_embedded_one_and_two_workers_make_each_condition_once()
    {
        string[] prompts = [.. Enumerable.Range(0, 40).Select(number => $"prompt {number % 30}")];
        var model = new ToyModel();
        await using TestFarm farm = Farm(TimeSpan.FromSeconds(30));
        await using FarmHead head = await StartHeadAsync(farm, model);
        await using Worker first = await Worker.StartAsync(farm, model);
        await using Worker second = await Worker.StartAsync(farm, model);
        JobView job = await SubmitAsync(head, prompts);
        JobView done = await UntilEndedAsync(head, job.Id);
        Assert.Equal((JobState.Completed, (string?)null), (done.State, done.Reason));
        Assert.Equal(31, model.TotalPasses); // the empty prompt's too
        Assert.Equal(await EmbeddedAsync(prompts), Workspace.HashOutput(_work[$"data/jobs/{job.Id}/out"]));
        FarmCounters counters = await head.CountAsync(CancellationToken.None);
        Assert.Equal((31, 0, 0), (counters.Passes, counters.PassesAgain, counters.ReclaimedItems));
        await first.LeaveAsync();
        await second.LeaveAsync();
        await TestFarm.UntilAsync(
            () => Task.FromResult(farm.Keys.All(key => key is "run" or "model" || key.StartsWith('c'))), $"only marker, model and conditions: {string.Join(' ', farm.Keys)}");
        Assert.Empty(Directory.GetFiles(farm.Inbox));
    }

    [Fact]
    public async Task Neither_a_killed_server_nor_one_that_came_back_empty_nor_a_head_that_started_again_changes_a_byte()
    {
        string[] prompts = [.. Enumerable.Range(0, 40).Select(number => $"prompt {number}")];
        var model = new ToyModel { BeforeDenoise = (_, _) => Thread.Sleep(15) };
        await using TestFarm farm = Farm(TimeSpan.FromSeconds(2));
        FarmHead head = await StartHeadAsync(farm, model);
        await using Worker first = await Worker.StartAsync(farm, model);
        await using Worker second = await Worker.StartAsync(farm, model);
        JobView job = await SubmitAsync(head, prompts);

        await UntilWrittenAsync(head, job.Id, 15);
        _redis.Kill();
        _redis.Start();
        await UntilWrittenAsync(head, job.Id, 40);
        await head.DisposeAsync();
        head = await StartHeadAsync(farm, model);
        await UntilWrittenAsync(head, job.Id, 70);
        _redis.Kill();
        _redis.LoseData();
        _redis.Start();

        JobView done = await UntilEndedAsync(head, job.Id);
        Assert.Equal((JobState.Completed, (string?)null), (done.State, done.Reason));
        Assert.Equal(prompts.Length * Images, done.Counts.Written);
        await head.DisposeAsync();
        Assert.Equal(await EmbeddedAsync(prompts), Workspace.HashOutput(_work[$"data/jobs/{job.Id}/out"]));
    }

    [Fact]
    public async Task Items_and_reports_of_a_later_version_end_neither_worker_nor_head_and_the_job_has_the_same_bytes()
    {
        string[] prompts = [.. Enumerable.Range(0, 30).Select(number => $"prompt {number}")];
        var model = new ToyModel { BeforeDenoise = (_, _) => Thread.Sleep(15) };
        await using TestFarm farm = Farm(TimeSpan.FromSeconds(2));
        FarmHead head = await StartHeadAsync(farm, model);
        await using Worker first = await Worker.StartAsync(farm, model);
        await using Worker second = await Worker.StartAsync(farm, model);
        JobView job = await SubmitAsync(head, prompts);
        await TestFarm.UntilAsync(() => Task.FromResult(Foreign.AddItem(_redis, farm, $"q:{model.Description.Lane}:dit:bulk")), "images are fed");
        await UntilWrittenAsync(head, job.Id, 15);
        Foreign.AddReport(_redis, farm, Foreign.Bytes, "\u0001\u0005");
        await UntilWrittenAsync(head, job.Id, 30);
        await head.DisposeAsync();
        Foreign.AddReport(_redis, farm, Foreign.Bytes, "\u0001c");

        head = await StartHeadAsync(farm, model);
        JobView done = await UntilEndedAsync(head, job.Id);
        Assert.Equal((JobState.Completed, (string?)null), (done.State, done.Reason));
        await head.DisposeAsync();
        Assert.Equal(await EmbeddedAsync(prompts), Workspace.HashOutput(_work[$"data/jobs/{job.Id}/out"]));
    }

    private static JobSpec Spec(string[] prompts, string outFolder) =>
        new() { Prompts = prompts, OutFolder = outFolder, ImagesPerPrompt = Images, SamplesPerShard = 50, Seed = 5 };

    private TestFarm Farm(TimeSpan leaseTime) => new(_redis, leaseTime) { Inbox = _work["data/inbox"] };

    private async Task<FarmHead> StartHeadAsync(TestFarm farm, ToyModel model) => await FarmHead.StartAsync(
        model.Description, await farm.HeadAsync(), new RedisWorkerRegistry(await farm.ConnectAsync(), farm.Options.LeaseTime),
        new HeadOptions { DataFolder = _work["data"], LookEvery = TimeSpan.FromMilliseconds(100) }, CancellationToken.None);

    private static Task<JobView> SubmitAsync(FarmHead head, string[] prompts) =>
        head.SubmitAsync(new JobSubmission { Spec = Spec(prompts, "ignored"), Tenant = "toys" }, CancellationToken.None);

    /// <summary>What the same job gives without a farm.</summary>
    private async Task<SortedDictionary<string, string>> EmbeddedAsync(string[] prompts)
    {
        string folder = _work["embedded"];
        await new EmbeddedFarm(new ToyModel()).RunAsync(Spec(prompts, folder), new FarmOptions { Slots = 2 }, progress: null, CancellationToken.None);
        return Workspace.HashOutput(folder);
    }

    private static Task<JobView> UntilEndedAsync(FarmHead head, string id) => UntilAsync(head, id, job => JobLifecycle.IsFinal(job.State));

    private static Task<JobView> UntilWrittenAsync(FarmHead head, string id, long images) => UntilAsync(head, id, job => job.Counts.Written >= images);

    private static async Task<JobView> UntilAsync(FarmHead head, string id, Func<JobView, bool> isSo)
    {
        long start = TimeProvider.System.GetTimestamp();
        while (true)
        {
            JobView job = await head.GetAsync(new JobReference(id, null), CancellationToken.None);
            if (isSo(job))
            {
                return job;
            }

            Assert.True(TimeProvider.System.GetElapsedTime(start) < Patience, $"{job.State} {job.Reason} {job.Counts} {head.Readiness}");
            await Task.Delay(10);
        }
    }

    /// <summary>A worker as in a process of its own: its own connection, memory and slots.</summary>
    private sealed class Worker : IAsyncDisposable
    {
        private readonly WorkerHost _host;
        private readonly Task _run;

        private Worker(WorkerHost host) => (_host, _run) = (host, host.RunAsync(CancellationToken.None));

        public static async Task<Worker> StartAsync(TestFarm farm, ToyModel model)
        {
            RedisConnection connection = await farm.ConnectAsync();
            var cache = new ConditionCache(1 << 20, [new RedisConditionTier(connection)], new RedisFlightBoard(connection));
            return new Worker(new WorkerHost(
                model, await RedisWorkQueue.OpenAsync(connection, farm.Options), new RedisWorkerRegistry(connection, farm.Options.LeaseTime), cache,
                new WorkerOptions { Slots = 2, LeaseTime = farm.Options.LeaseTime }));
        }

        public async Task LeaveAsync()
        {
            _host.Drain();
            await _run.WaitAsync(Patience);
        }

        public async ValueTask DisposeAsync()
        {
            await LeaveAsync();
            _host.Dispose();
        }
    }
}
