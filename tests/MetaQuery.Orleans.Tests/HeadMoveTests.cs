using MetaQuery.Client;
using MetaQuery.Farm;
using MetaQuery.Farm.Tests.Doubles;
using MetaQuery.Orleans.Tests.Doubles;
using MetaQuery.Redis;
using MetaQuery.TestKit;
using Orleans.Core.Internal;
using Orleans.Runtime;

namespace MetaQuery.Orleans.Tests;

/// <summary>The head's grain is lost, or nobody asks for it, while silos live.</summary>
public sealed class HeadMoveTests(Cluster cluster) : IClassFixture<Cluster>
{
    [Fact]
    public async Task A_head_whose_grain_comes_up_on_another_living_silo_is_let_go_and_its_job_goes_on_there_and_back_again()
    {
        string[] prompts = [.. Enumerable.Range(0, 12).Select(i => $"picture {i}")];
        using var folder = new Workspace();
        await new EmbeddedFarm(new ToyModel()).RunAsync(
            new JobSpec { Prompts = prompts, ImagesPerPrompt = 2, Seed = 5, OutFolder = folder["reference"] }, new FarmOptions(), progress: null, CancellationToken.None);
        using RunningJob held = await cluster.HoldAsync(new JobRequest { Prompts = prompts, ImagesPerPrompt = 2, Seed = 5 });
        HeadStanding first = await StandingAsync();
        HeadStanding second = await MoveAsync(await cluster.NotTheHeadAsync());
        Assert.True(second.Epoch > first.Epoch);
        HeadStanding third = await MoveAsync(cluster.Silos.Single(silo => silo.Id == first.Silo)); // a silo that let it go can take it again
        Assert.True(third.Epoch > second.Epoch);
        held.LetGo();
        await Until.Async(
            () => Grain.ListAsync(new JobQuery(null, 10)), page => page.Jobs.Any(job => job.Id == held.Id && job.State == JobState.Completed), "the end of the job");
        Assert.Equal(Workspace.HashOutput(folder["reference"]), Workspace.HashOutput(Path.Combine(cluster.Data, "jobs", held.Id, "out")));
    }

    [Fact]
    public async Task A_head_whose_grain_comes_up_again_on_its_own_silo_works_on_untouched()
    {
        HeadStanding before = await StandingAsync();
        await Grain.Cast<IGrainManagementExtension>().DeactivateOnIdle();
        HeadStanding after = await StandingAsync();
        Assert.Equal((before.Silo, before.Epoch), (after.Silo, after.Epoch));
    }

    [Fact]
    public async Task A_jobs_reminder_alone_makes_a_head_run_where_none_does_and_the_job_goes_on()
    {
        using var folder = new Workspace();
        using RealRedis redis = RealRedis.With();
        using var gate = new ManualResetEventSlim();
        var model = new ToyModel { BeforeDenoise = (_, stop) => gate.Wait(stop) };
        var nobodyAsks = new MembershipTimes { HeadLook = TimeSpan.FromHours(4) }; // after the silo's first call
        await using ToySilo first = await ToySilo.StartAsync(redis, folder["data"], SiloRoles.Head, slots: 0);
        await Until.Async(() => Task.FromResult(first.Whereabouts.Last), standing => standing is { IsRunning: true }, "the first silo's head");
        await using ToySilo second = await ToySilo.StartAsync(redis, folder["data"], model: model, membership: nobodyAsks);
        await using ClusterConnection connection = await ClusterConnection.OpenAsync(RedisOptions.Parse(redis.Address), CancellationToken.None);
        await Until.Async(() => Task.FromResult(second.Whereabouts.Silo), silo => first.Address.Equals(silo), "the second silo's one call for the head");
        Job job = await second.Client.CreateJobAsync(new JobRequest { Prompts = ["reminded"], ImagesPerPrompt = 3 });
        var grain = connection.Grains.GetGrain<IJobGrain>(job.Id);
        await Until.Async(grain.GetTicketAsync, ticket => ticket is { State: JobState.Running }, "the ticket to say running");
        await first.StopAsync();
        gate.Set();
        using (DataFolder.Take(folder["data"]))
        {
            // nobody holds it: there is no head
        }

        DateTime now = DateTime.UtcNow;
        await grain.AsReference<IRemindable>().ReceiveReminder("go-on", new TickStatus(now, TimeSpan.FromMinutes(1), now));
        Job ended = await Until.Async(() => second.Client.GetJobAsync(job.Id), seen => seen.State is "completed" or "completed_with_errors" or "failed", "the end of the job");
        Assert.Equal(("completed", 3L), (ended.State, ended.Counts.Written));
    }

    private IHeadGrain Grain => cluster.Grains.GetGrain<IHeadGrain>(0);

    private Task<HeadStanding> StandingAsync() => Until.Async(Grain.EnsureAsync, standing => standing.IsRunning, "a head");

    /// <summary>The cluster loses the grain's activation, and places the next one as if the head had been seen on this silo.</summary>
    private async Task<HeadStanding> MoveAsync(ToySilo silo)
    {
        var word = new HeadStanding(silo.Id, IsRunning: true, IsReady: true, Reason: null, Epoch: 0);
        await Until.Async(
            async () =>
            {
                foreach (ToySilo each in cluster.Silos)
                {
                    each.Whereabouts.Hear(word);
                }

                await Grain.Cast<IGrainManagementExtension>().DeactivateOnIdle();
                return await Grain.EnsureAsync();
            },
            standing => standing.Silo == silo.Id, $"the head's grain on {silo.Id}");
        return await Until.Async(Grain.EnsureAsync, standing => standing.IsRunning && standing.Silo == silo.Id, $"the head on {silo.Id}");
    }
}
