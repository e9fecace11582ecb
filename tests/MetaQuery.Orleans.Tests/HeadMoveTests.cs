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
    public async Task A_jobs_grain_follows_the_head_so_that_a_silo_that_remembers_where_it_was_has_answers_of_the_job()
    {
        using RunningJob held = await cluster.HoldAsync();
        string left = await cluster.HeadAsync();
        ToySilo taking = await cluster.NotTheHeadAsync();
        ToySilo third = cluster.Silos.Single(silo => silo != taking && silo.Id != left);
        await third.Client.GetJobAsync(held.Id);
        HeadStanding second = await MoveAsync(taking);
        Assert.Equal("running", (await third.Client.GetJobAsync(held.Id)).State); // else 503 after 25 s
        Assert.Equal(second.Silo, (await cluster.Grains.GetGrain<IManagementGrain>(0).GetActivationAddress(cluster.Grains.GetGrain<IJobGrain>(held.Id)))!.ToParsableString());
        held.LetGo();
        Assert.Equal("completed", (await cluster.EndOfAsync(held.Id)).State);
    }

    [Fact]
    public async Task A_watch_goes_on_over_a_heads_move_and_ends_with_the_job()
    {
        using RunningJob held = await cluster.HoldAsync();
        ToySilo watched = await cluster.NotTheHeadAsync();
        var states = new List<string>();
        var isWatching = new TaskCompletionSource();
        Task watching = Task.Run(async () =>
        {
            await foreach (var happened in watched.Client.WatchJobAsync(held.Id))
            {
                states.Add(happened.Data.Job.State);
                isWatching.TrySetResult();
            }
        });
        await isWatching.Task;
        await MoveAsync(watched);
        held.LetGo();
        await watching.WaitAsync(TimeSpan.FromMinutes(1));
        Assert.Equal("completed", states[^1]);
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
    public async Task A_jobs_reminder_alone_when_it_fires_makes_a_head_run_where_none_does_and_the_job_goes_on()
    {
        using var folder = new Workspace();
        using RealRedis redis = RealRedis.With();
        using var gate = new ManualResetEventSlim();
        var model = new ToyModel { BeforeDenoise = (_, stop) => gate.Wait(stop) };
        var soon = new MembershipTimes { Reminder = TimeSpan.FromSeconds(3) };
        MembershipTimes nobodyAsks = soon with { HeadLook = TimeSpan.FromHours(4) }; // after the silo's first call
        await using ToySilo first = await ToySilo.StartAsync(redis, folder["data"], SiloRoles.Head, slots: 0, membership: soon);
        await Until.Async(() => Task.FromResult(first.Whereabouts.Last), standing => standing is { IsRunning: true }, "the first silo's head");
        await using ToySilo second = await ToySilo.StartAsync(redis, folder["data"], model: model, membership: nobodyAsks);
        await using ClusterConnection connection = await ClusterConnection.OpenAsync(RedisOptions.Parse(redis.Address), CancellationToken.None);
        await Until.Async(() => Task.FromResult(second.Whereabouts.Silo), silo => first.Address.Equals(silo), "the second silo's one call for the head");
        Job job = await second.Client.CreateJobAsync(new JobRequest { Prompts = ["reminded"], ImagesPerPrompt = 3 });
        var grain = connection.Grains.GetGrain<IJobGrain>(job.Id);
        await Until.Async(grain.GetTicketAsync, ticket => ticket is { State: JobState.Running }, "the ticket to say running");
        await first.StopAsync();
        gate.Set();

        // a question would have the head looked for too: the folder alone is looked at
        string shards = Path.Combine(folder["data"], "jobs", job.Id, "out", "manifest.jsonl");
        await Until.Async(() => Task.FromResult(File.Exists(shards)), exists => exists, "the reminder to fire and the job to end", TimeSpan.FromMinutes(2));
        Job ended = await Until.Async(() => second.Client.GetJobAsync(job.Id), seen => seen.State is "completed" or "completed_with_errors" or "failed", "the end of the job");
        Assert.Equal(("completed", 3L), (ended.State, ended.Counts.Written));
    }

    [Fact]
    public async Task A_ticket_of_a_job_that_is_gone_goes_with_its_reminders_also_on_a_silo_that_the_head_has_left()
    {
        using var folder = new Workspace();
        using RealRedis redis = RealRedis.With();
        var soon = new MembershipTimes { Reminder = TimeSpan.FromSeconds(3) };
        await using ToySilo first = await ToySilo.StartAsync(redis, folder["data"], membership: soon);
        await using ClusterConnection connection = await ClusterConnection.OpenAsync(RedisOptions.Parse(redis.Address), CancellationToken.None);
        IHeadGrain head = connection.Grains.GetGrain<IHeadGrain>(0);
        await Until.Async(head.EnsureAsync, standing => standing.IsRunning, "a head");
        var grain = connection.Grains.GetGrain<IJobGrain>("job_00000000000000000000000000");
        Assert.Null(await grain.GetTicketAsync());
        Assert.Equal(first.Address, await connection.Grains.GetGrain<IManagementGrain>(0).GetActivationAddress(grain));
        await using ToySilo second = await ToySilo.StartAsync(redis, folder["data"], membership: soon);
        HeadStanding moved = await MoveAsync(head, [first, second], second);

        // a word of the head before, under way for long; the grain is still where that head was, and no head tells it of a job that none knows
        await grain.AdoptAsync(TicketOf(grain, first.Id, moved.Epoch - 1));
        Assert.NotNull(await grain.GetTicketAsync());
        await Until.Async(grain.GetTicketAsync, ticket => ticket is null, "the reminders to follow the head and to take the ticket away", TimeSpan.FromMinutes(1));
    }

    [Fact]
    public async Task A_head_that_takes_over_takes_away_the_tickets_of_jobs_whose_end_the_one_before_did_not_tell()
    {
        Job job = await cluster.Silos[0].Client.CreateJobAsync(new JobRequest { Prompts = ["untold"] });
        await cluster.EndOfAsync(job.Id);
        HeadStanding before = await StandingAsync();
        var grain = cluster.Grains.GetGrain<IJobGrain>(job.Id);
        await Until.Async(grain.GetTicketAsync, ticket => ticket is null, "the job's end to be told");
        await grain.AdoptAsync(TicketOf(grain, before.Silo, before.Epoch));
        Assert.NotNull(await grain.GetTicketAsync());
        await MoveAsync(await cluster.NotTheHeadAsync());
        await Until.Async(grain.GetTicketAsync, ticket => ticket is null, "the ticket to go before its reminder fires, after a minute", TimeSpan.FromSeconds(30));
    }

    [Fact]
    public async Task Jobs_that_end_while_their_grains_are_being_told_that_they_begin_leave_no_ticket()
    {
        Job[] jobs = await Task.WhenAll(Enumerable.Range(0, 60).Select(i => cluster.Silos[i % 3].Client.CreateJobAsync(new JobRequest { Prompts = [$"short {i}"], Steps = 1 })));
        await Task.WhenAll(jobs.Select(job => cluster.EndOfAsync(job.Id)));
        await Task.WhenAll(jobs.Select(job => Until.Async(
            cluster.Grains.GetGrain<IJobGrain>(job.Id).GetTicketAsync, ticket => ticket is null, "the ticket to go before its reminder fires, after a minute", TimeSpan.FromSeconds(30))));
    }

    [Fact]
    public async Task A_submission_is_answered_though_its_jobs_grain_cannot_be_told_and_it_is_told_once_it_can_be()
    {
        using var folder = new Workspace();
        using RealRedis redis = RealRedis.With();
        using var gate = new ManualResetEventSlim();
        await using ToySilo silo = await ToySilo.StartAsync(redis, folder["data"], model: new ToyModel { BeforeDenoise = (_, stop) => gate.Wait(stop) });
        await Until.Async(() => Task.FromResult(silo.Whereabouts.Last), standing => standing is { IsReady: true }, "the head");
        const string table = "mq:{default}:orleans/reminders";
        redis.Command("SET", table, "not a table");
        Job job = await silo.Client.CreateJobAsync(new JobRequest { Prompts = ["promised"] });
        await using ClusterConnection connection = await ClusterConnection.OpenAsync(RedisOptions.Parse(redis.Address), CancellationToken.None);
        var grain = connection.Grains.GetGrain<IJobGrain>(job.Id);
        Assert.Null(await grain.GetTicketAsync());
        redis.Command("DEL", table);
        await Until.Async(grain.GetTicketAsync, ticket => ticket is not null, "the grain to be told again", TimeSpan.FromMinutes(1));
        Assert.Equal("1", redis.Command("ZCARD", table)!.ToString());
        gate.Set();
        await Until.Async(grain.GetTicketAsync, ticket => ticket is null, "the end of the job to be told", TimeSpan.FromMinutes(1));
    }

    private static JobTicket TicketOf(IJobGrain grain, string silo, long epoch) =>
        new(grain.GetPrimaryKeyString(), Cluster.Tenant, "ended", JobPriority.Bulk, JobState.Running, Prompts: 1, Images: 1, silo, epoch, DateTimeOffset.UnixEpoch);

    private IHeadGrain Grain => cluster.Grains.GetGrain<IHeadGrain>(0);

    private Task<HeadStanding> StandingAsync() => Until.Async(Grain.EnsureAsync, standing => standing.IsRunning, "a head");

    private Task<HeadStanding> MoveAsync(ToySilo silo) => MoveAsync(Grain, cluster.Silos, silo);

    /// <summary>The grain leaves its silo for this one, as if the head had been seen there. (Were it only lost, a call that arrives where it was would mostly have it made there again.)</summary>
    private static async Task<HeadStanding> MoveAsync(IHeadGrain head, IEnumerable<ToySilo> silos, ToySilo silo)
    {
        var word = new HeadStanding(silo.Id, IsRunning: true, IsReady: true, Reason: null, Epoch: 0);
        await Until.Async(
            async () =>
            {
                foreach (ToySilo each in silos)
                {
                    each.Whereabouts.Hear(word);
                }

                await head.Cast<IGrainManagementExtension>().MigrateOnIdle();
                return await head.EnsureAsync();
            },
            standing => standing.Silo == silo.Id, $"the head's grain on {silo.Id}");
        return await Until.Async(head.EnsureAsync, standing => standing.IsRunning && standing.Silo == silo.Id, $"the head on {silo.Id}");
    }
}
