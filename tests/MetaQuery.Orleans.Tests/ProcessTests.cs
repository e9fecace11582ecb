using System.Diagnostics;
using MetaQuery.Client;
using MetaQuery.Farm;
using MetaQuery.Farm.Tests.Doubles;
using MetaQuery.Orleans.Tests.Doubles;
using MetaQuery.Silo;
using MetaQuery.TestKit;

namespace MetaQuery.Orleans.Tests;

/// <summary>Real silos on the Nano model, each in a process of its own, over a real redis-server: killed, drained, started again.</summary>
public sealed class ProcessTests : IDisposable
{
    private const int Steps = 2;
    private static readonly string[] Prompts = [.. Enumerable.Range(0, 8).Select(i => $"a red apple on plate {i}")];

    private readonly Workspace _folder = new();

    private string Data => _folder["data"];

    public void Dispose() => _folder.Dispose();

    [Fact]
    public async Task A_job_goes_on_through_the_death_of_the_silo_that_holds_its_head_and_ends_with_the_embedded_runs_bytes()
    {
        using RealRedis redis = RealRedis.With();
        using var one = new SiloProcess("silo one", redis, Data, _folder.Root);
        await ReadyAsync(one);
        using var two = new SiloProcess("silo two", redis, Data, _folder.Root);
        using var three = new SiloProcess("silo three", redis, Data, _folder.Root);
        SiloProcess[] all = [one, two, three];
        await Until.Async(() => TryAsync(() => two.Client.ListSilosAsync()), list => list?.Data.Count(silo => silo.State == "active") == 3, "three active silos");
        await Until.Async(() => TryAsync(() => three.Client.ListSilosAsync()), list => list is not null, "the third silo's web API");
        Job job = await two.Client.CreateJobAsync(Request);
        await Until.Async(() => TryAsync(() => two.Client.GetJobAsync(job.Id)), seen => seen?.Counts.Written > 0, "the first pictures");
        string head = (await two.Client.ListSilosAsync()).Data.Single(silo => silo.Head).Id;
        SiloProcess dying = all.Single(silo => silo.IsNamed(head));
        SiloProcess alive = all.First(silo => silo != dying);
        dying.Process.Kill();
        var clock = Stopwatch.StartNew();
        await Until.Async(() => TryAsync(() => alive.Client.ListSilosAsync()), list => list?.Data.Any(silo => silo.Head && silo.Id != head) == true, "another silo to hold the head");
        TimeSpan took = clock.Elapsed;
        Job ended = (await Until.Async(() => TryAsync(() => alive.Client.GetJobAsync(job.Id)), seen => seen is { State: "completed" or "failed" or "completed_with_errors" }, "the end of the job"))!;
        Assert.Equal("completed", ended.State);
        await AssertSameBytesAsync(job.Id);

        // 15 s are asked for on a machine of one's own; this one runs the other tests beside it
        Assert.True(took < TimeSpan.FromSeconds(60), $"the head was elsewhere after {took}");
    }

    [Fact]
    public async Task A_silo_that_is_drained_leaves_by_itself_hands_the_head_over_and_loses_nothing()
    {
        using RealRedis redis = RealRedis.With();
        using var one = new SiloProcess("silo one", redis, Data, _folder.Root);
        await ReadyAsync(one);
        using var two = new SiloProcess("silo two", redis, Data, _folder.Root);
        await Until.Async(() => TryAsync(() => two.Client.ListSilosAsync()), list => list?.Data.Count(silo => silo.State == "active") == 2, "two active silos");
        Job job = await two.Client.CreateJobAsync(Request);
        await Until.Async(() => TryAsync(() => two.Client.GetJobAsync(job.Id)), seen => seen?.Counts.Written > 0, "the first pictures");
        SiloList silos = await two.Client.ListSilosAsync();
        SiloProcess leaving = silos.Data.Single(silo => silo.Head) is var held && one.IsNamed(held.Id) ? one : two;
        SiloProcess staying = leaving == one ? two : one;
        SiloList asked = await staying.Client.DrainSiloAsync(held.Id);
        Assert.All(asked.Data, silo => Assert.Equal("leaving", silo.State));
        Assert.Equal(0, await leaving.Process.WaitAsync(CancellationToken.None));
        Job ended = (await Until.Async(() => TryAsync(() => staying.Client.GetJobAsync(job.Id)), seen => seen is { State: "completed" or "failed" or "completed_with_errors" }, "the end of the job"))!;
        Assert.Equal("completed", ended.State);
        await AssertSameBytesAsync(job.Id);
        Assert.Equal(0, (await staying.Client.GetJobAsync(job.Id)).Counts.Failed);
    }

    [Fact]
    public async Task A_silo_on_localhost_needs_no_server_and_goes_on_with_its_jobs_after_kill_9()
    {
        using var silo = new SiloProcess("silo", redis: null, Data, _folder.Root);
        await ReadyAsync(silo);
        Job job = await silo.Client.CreateJobAsync(Request);
        await Until.Async(() => TryAsync(() => silo.Client.GetJobAsync(job.Id)), seen => seen?.Counts.Written > 0, "the first pictures");
        silo.Process.KillAndRestart();
        Job ended = (await Until.Async(() => TryAsync(() => silo.Client.GetJobAsync(job.Id)), seen => seen is { State: "completed" or "failed" or "completed_with_errors" }, "the end of the job"))!;
        Assert.Equal("completed", ended.State);
        await AssertSameBytesAsync(job.Id);
        Assert.Equal(0, await silo.Process.StopAsync(TimeSpan.FromMinutes(1), CancellationToken.None));
    }

    private static JobRequest Request => new() { Prompts = Prompts, ImagesPerPrompt = 2, Seed = 3, Steps = Steps, BatchSize = 2 };

    private static Task ReadyAsync(SiloProcess silo) => Until.Async(
        () =>
        {
            silo.Process.CheckAlive();
            return TryAsync(() => silo.Client.ListWorkersAsync());
        },
        workers => workers?.Data.Count > 0, "the first silo's slot to join");

    /// <returns>Null while the silo does not answer, or has no head to ask.</returns>
    private static async Task<T?> TryAsync<T>(Func<Task<T>> call)
        where T : class
    {
        try
        {
            return await call();
        }
        catch (FarmUnreachableException)
        {
            return null;
        }
        catch (FarmApiException exception) when (exception.Status is 503 or 429)
        {
            return null;
        }
    }

    private async Task AssertSameBytesAsync(string job)
    {
        string reference = _folder["reference"];
        using (LocalModel model = LocalModel.Load(RepositoryFolders.NanoModel))
        {
            await new EmbeddedFarm(model).RunAsync(
                new JobSpec { Prompts = Prompts, ImagesPerPrompt = 2, Seed = 3, NumInferenceSteps = Steps, BatchSize = 2, OutFolder = reference }, new FarmOptions(), progress: null, CancellationToken.None);
        }

        Assert.Equal(Workspace.HashOutput(reference), Workspace.HashOutput(Path.Combine(Data, "jobs", job, "out")));
    }
}
