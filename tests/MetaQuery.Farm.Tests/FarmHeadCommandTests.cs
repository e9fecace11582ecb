using MetaQuery.Farm.Tests.Doubles;

namespace MetaQuery.Farm.Tests;

/// <summary>What is asked of jobs, by people and by time.</summary>
public sealed class FarmHeadCommandTests : IDisposable
{
    private static readonly string[] Prompts = [.. Enumerable.Range(0, 40).Select(i => $"prompt {i}")];

    private readonly Workspace _work = new();

    public void Dispose() => _work.Dispose();

    [Fact]
    public async Task A_paused_job_hands_nothing_out_until_it_is_resumed()
    {
        await using ToyFarm farm = await ToyFarm.StartAsync(_work["data"]);
        string id = (await farm.SubmitAsync(Prompts)).Id;
        await using ToyWorker worker = farm.Hire();
        worker.MostImages = 11;
        await farm.UntilAsync(id, job => job.Counts.Written == 11);
        while ((await farm.Queue.DepthAsync(worker.Info.Lane, CancellationToken.None)).WaitingDenoise == 0)
        {
            await Task.Delay(1); // there is something to take back
        }

        Assert.Equal(JobState.Paused, (await farm.ApplyAsync(id, JobCommand.Pause)).State);
        Assert.Equal(0, (await farm.Queue.DepthAsync(worker.Info.Lane, CancellationToken.None)).WaitingDenoise);
        worker.MostImages = int.MaxValue;
        Assert.Equal(11, (await farm.GetAsync(id)).Counts.Written);
        await farm.ApplyAsync(id, JobCommand.Resume);
        JobView done = await farm.UntilEndedAsync(id);
        Assert.Equal((JobState.Completed, 120L), (done.State, done.Counts.Written));
    }

    [Fact]
    public async Task A_tenants_older_job_goes_first_also_after_it_was_paused()
    {
        await using ToyFarm farm = await ToyFarm.StartAsync(_work["data"], new HeadOptions { DataFolder = "", FeedAhead = TimeSpan.FromMilliseconds(1) });
        string old = (await farm.SubmitAsync(Prompts)).Id;
        await using ToyWorker worker = farm.Hire();
        worker.MostImages = 5;
        await farm.UntilAsync(old, job => job.Counts.Written == 5);
        await farm.ApplyAsync(old, JobCommand.Pause);
        string young = (await farm.SubmitAsync([.. Enumerable.Range(0, 150).Select(i => $"young {i}")])).Id;
        worker.MostImages = 10;
        await farm.UntilAsync(young, job => job.Counts.Written == 5);
        await farm.ApplyAsync(old, JobCommand.Resume);
        await farm.UntilAsync(old, job => job.State == JobState.Running);
        worker.MostImages = int.MaxValue;
        await farm.UntilEndedAsync(old);
        await farm.UntilEndedAsync(young);
        Assert.Equal(young, worker.Seen.OfType<DenoiseItem>().Last().JobId);
        int last = worker.Seen.OfType<DenoiseItem>().Index().Last(item => item.Item.JobId == old).Index;
        Assert.InRange(last, 115, 500); // what of the younger one had been fed before is out already
    }

    [Fact]
    public async Task A_tenants_new_weight_holds_for_jobs_that_run_already()
    {
        var weights = new Weights();
        await using ToyFarm farm = await ToyFarm.StartAsync(
            _work["data"], new HeadOptions { DataFolder = "", Tenants = weights, FeedAhead = TimeSpan.FromMilliseconds(1) });
        foreach (string tenant in (string[])["light", "heavy"])
        {
            // one condition: neither is ever short of images that could be made
            await farm.SubmitAsync([.. Enumerable.Repeat(tenant, 400)], and: submission => submission with { Tenant = tenant });
        }

        await using ToyWorker worker = farm.Hire();
        worker.MostImages = 40;
        await ToyFloor.Until(() => worker.Seen.OfType<DenoiseItem>().Count() == 40);
        weights.Heavy = 4;
        worker.MostImages = 840;
        await ToyFloor.Until(() => worker.Seen.OfType<DenoiseItem>().Count() == 840);
        int heavy = worker.Seen.OfType<DenoiseItem>().TakeLast(200).Count(item => item.Prompt.Prompt.StartsWith("heavy", StringComparison.Ordinal));
        Assert.InRange(heavy, 150, 170); // four of five are 160
    }

    [Fact]
    public async Task A_cancelled_jobs_holders_are_told_and_it_may_then_be_deleted()
    {
        await using ToyFarm farm = await ToyFarm.StartAsync(_work["data"]);
        string id = (await farm.SubmitAsync(Prompts)).Id;
        await using ToyWorker worker = farm.Hire();
        worker.MostImages = 8;
        var told = new TaskCompletionSource<string>();
        using IDisposable subscription = farm.Queue.OnWithdrawn(job => told.TrySetResult(job));
        await farm.UntilAsync(id, job => job.Counts.Written == 8);
        var refused = await Assert.ThrowsAsync<JobStateException>(() => farm.ApplyAsync(id, JobCommand.Delete));
        Assert.Contains("cancel it first", refused.Message, StringComparison.Ordinal);
        Assert.Equal(JobState.Cancelled, (await farm.ApplyAsync(id, JobCommand.Cancel)).State);
        Assert.Equal(id, await told.Task.WaitAsync(TimeSpan.FromSeconds(30)));
        JobView job = await farm.GetAsync(id);
        Assert.NotNull(job.FinishedAt);
        SamplePage page = await farm.Head.ListSamplesAsync(new JobReference(id, null), 0, 1000, CancellationToken.None);
        Assert.Equal(8, page.Samples.Count); // what was made can be looked at
        await farm.ApplyAsync(id, JobCommand.Delete);
        await Assert.ThrowsAsync<JobNotFoundException>(() => farm.GetAsync(id));
        await ToyFloor.Until(() => !Directory.Exists(_work[$"data/jobs/{id}"])); // a report that is just being written may hold it until the next look
    }

    [Fact]
    public async Task A_job_of_another_tenant_does_not_exist()
    {
        await using ToyFarm farm = await ToyFarm.StartAsync(_work["data"]);
        string id = (await farm.SubmitAsync(["a"])).Id;
        var others = new JobReference(id, "others");
        await Assert.ThrowsAsync<JobNotFoundException>(() => farm.Head.GetAsync(others, CancellationToken.None));
        await Assert.ThrowsAsync<JobNotFoundException>(() => farm.Head.ApplyAsync(others, JobCommand.Cancel, CancellationToken.None));
        Assert.Empty((await farm.Head.ListAsync(new JobQuery("others"), CancellationToken.None)).Jobs);
        Assert.Single((await farm.Head.ListAsync(new JobQuery("toys"), CancellationToken.None)).Jobs);
    }

    [Fact]
    public async Task An_idempotency_key_gives_the_same_job_and_refuses_another_content()
    {
        await using ToyFarm farm = await ToyFarm.StartAsync(_work["data"]);
        JobView first = await farm.SubmitAsync(["a"], and: submission => submission with { IdempotencyKey = "k" });
        JobView again = await farm.SubmitAsync(["a"], and: submission => submission with { IdempotencyKey = "k" });
        Assert.Equal(first.Id, again.Id);
        Assert.NotEqual(first.Id, (await farm.SubmitAsync(["a"], and: submission => submission with { IdempotencyKey = "k", Tenant = "others" })).Id);
        await Assert.ThrowsAsync<IdempotencyConflictException>(() => farm.SubmitAsync(["b"], and: submission => submission with { IdempotencyKey = "k" }));
        Assert.Equal(2, Directory.GetDirectories(_work["data/jobs"]).Length); // refused and repeated submissions leave nothing
    }

    [Fact]
    public async Task Quotas_count_what_is_queued_and_what_was_asked_for_today()
    {
        var rules = new Dictionary<string, TenantRules> { ["small"] = new(MaxQueuedImages: 10), ["daily"] = new(ImagesPerDay: 10) };
        await using ToyFarm farm = await ToyFarm.StartAsync(_work["data"], new HeadOptions { DataFolder = "", Tenants = new Rules(rules) });
        Task<JobView> Submit(string tenant, int prompts) => farm.SubmitAsync(Prompts[..prompts], and: submission => submission with { Tenant = tenant });
        await Submit("small", 3);
        var full = await Assert.ThrowsAsync<QueueFullException>(() => Submit("small", 1));
        Assert.Contains("9 images queued", full.Message, StringComparison.Ordinal);
        JobView job = await Submit("daily", 3);
        await farm.ApplyAsync(job.Id, JobCommand.Cancel);
        await farm.ApplyAsync(job.Id, JobCommand.Delete);
        await Assert.ThrowsAsync<QueueFullException>(() => Submit("daily", 1)); // a deleted job's images were asked for all the same
        Assert.Equal(new TenantUsage("daily", 0, 9), await farm.Head.GetUsageAsync("daily", CancellationToken.None));
    }

    [Fact]
    public async Task A_passed_deadline_cancels_and_the_retention_rule_deletes()
    {
        await using ToyFarm farm = await ToyFarm.StartAsync(_work["data"], new HeadOptions { DataFolder = "", KeepRequests = TimeSpan.FromMilliseconds(200) });
        string late = (await farm.SubmitAsync(["a"], and: submission => submission with { Deadline = DateTimeOffset.UtcNow.AddMilliseconds(50) })).Id;
        JobView job = await farm.UntilEndedAsync(late);
        Assert.Equal(JobState.Cancelled, job.State);
        Assert.StartsWith("its deadline", job.Reason, StringComparison.Ordinal);
        Assert.Null(job.ExpiresAt);

        string request = (await farm.SubmitAsync(["a"], and: submission => submission with { Kind = JobKind.Request })).Id;
        await farm.ApplyAsync(request, JobCommand.Cancel);
        long start = TimeProvider.System.GetTimestamp();
        while (Directory.Exists(_work[$"data/jobs/{request}"]))
        {
            Assert.True(TimeProvider.System.GetElapsedTime(start) < TimeSpan.FromSeconds(60));
            await Task.Delay(5);
        }

        await Assert.ThrowsAsync<JobNotFoundException>(() => farm.GetAsync(request));
        Assert.Equal(late, Assert.Single((await farm.Head.ListAsync(new JobQuery(null, WithRequests: true), CancellationToken.None)).Jobs).Id);
    }

    [Fact]
    public async Task Events_tell_every_sample_once_are_taken_up_where_they_broke_off_and_end_with_the_job()
    {
        await using ToyFarm farm = await ToyFarm.StartAsync(_work["data"], new HeadOptions { DataFolder = "", EventsEvery = TimeSpan.FromMilliseconds(10) });
        string id = (await farm.SubmitAsync(Prompts[..10])).Id;
        var job = new JobReference(id, "toys");
        var events = new List<JobEvent>();
        ToyWorker? worker = null;
        await foreach (JobEvent happened in farm.Head.WatchAsync(job, null, CancellationToken.None))
        {
            events.Add(happened);
            worker ??= farm.Hire();
            if (events.Count == 3)
            {
                break;
            }
        }

        await foreach (JobEvent happened in farm.Head.WatchAsync(job, events[^1].Id, CancellationToken.None))
        {
            events.Add(happened);
        }

        await worker!.DisposeAsync();
        Assert.Equal("snapshot", events[0].Type);
        Assert.All(events.Skip(1), happened => Assert.NotEqual("snapshot", happened.Type));
        Assert.Equal(("state", JobState.Completed), (events[^1].Type, events[^1].Job.State));
        Assert.Equal(events.Count, events.Select(happened => happened.Id).Distinct().Count());
        Assert.Equal(Enumerable.Range(0, 30).Select(i => (long)i), events.SelectMany(happened => happened.Samples).Order());

        await foreach (JobEvent late in farm.Head.WatchAsync(job, "another-head-7", CancellationToken.None))
        {
            Assert.Equal(("snapshot", JobState.Completed), (late.Type, late.Job.State));
        }
    }

    [Fact]
    public async Task Jobs_of_several_tenants_share_conditions_and_slots()
    {
        await using ToyFarm farm = await ToyFarm.StartAsync(_work["data"]);
        JobView[] jobs = await Task.WhenAll(Enumerable.Range(0, 6).Select(i => farm.SubmitAsync(
            Prompts[..8], spec => spec with { Priority = i == 5 ? JobPriority.Interactive : JobPriority.Bulk, Seed = (ulong)i },
            submission => submission with { Tenant = $"tenant {i % 3}" })));
        await using ToyWorker worker = farm.Hire();
        foreach (JobView job in jobs)
        {
            Assert.Equal(JobState.Completed, (await farm.UntilEndedAsync(job.Id)).State);
        }

        Assert.Equal(9, worker.Encoded);
        Assert.Equal(6 * 24, worker.Seen.OfType<DenoiseItem>().Select(item => item.Id).Distinct().Count());
        Assert.Equal(6 * 24, worker.Seen.OfType<DenoiseItem>().Count());
    }

    [Fact]
    public async Task A_prompt_file_may_be_uploaded_and_a_bad_one_leaves_nothing()
    {
        await using ToyFarm farm = await ToyFarm.StartAsync(_work["data"]);
        await using ToyWorker worker = farm.Hire();
        JobSubmission Upload(string text, bool skip) => new()
        {
            Spec = new JobSpec { OutFolder = "", SkipInvalid = skip }, Tenant = "toys", PromptsFormat = "jsonl", Prompts = new MemoryStream(System.Text.Encoding.UTF8.GetBytes(text)),
        };
        const string text = "{\"prompt\": \"a\"}\n{\"caption\": \"b\"}\n{\"prompt\": \"c\"}\n";
        Exception refused = await Assert.ThrowsAnyAsync<Data.PromptFileException>(() => farm.Head.SubmitAsync(Upload(text, skip: false), CancellationToken.None));
        Assert.Contains("line 2", refused.Message, StringComparison.Ordinal);
        Assert.Empty(Directory.GetDirectories(_work["data/jobs"]));
        JobView job = await farm.Head.SubmitAsync(Upload(text, skip: true), CancellationToken.None);
        Assert.StartsWith("line 2", Assert.Single(job.SkippedLines), StringComparison.Ordinal);
        Assert.Equal(2, (await farm.UntilEndedAsync(job.Id)).Counts.Written);
    }

    private sealed class Rules(Dictionary<string, TenantRules> rules) : ITenantDirectory
    {
        public TenantRules RulesOf(string tenant) => rules.GetValueOrDefault(tenant, TenantRules.Default);
    }

    [Fact]
    public async Task Paused_jobs_keep_no_places_that_others_want()
    {
        await using ToyFarm farm = await ToyFarm.StartAsync(_work["data"], new HeadOptions { DataFolder = "", MaxOpenJobs = 1 });
        string first = (await farm.SubmitAsync(Prompts)).Id;
        await using ToyWorker worker = farm.Hire();
        worker.MostImages = 5;
        await farm.UntilAsync(first, job => job.Counts.Written == 5);
        await farm.ApplyAsync(first, JobCommand.Pause);
        worker.MostImages = int.MaxValue;
        string second = (await farm.SubmitAsync(["one more"])).Id;
        Assert.Equal(JobState.Completed, (await farm.UntilEndedAsync(second)).State);
        await farm.ApplyAsync(first, JobCommand.Resume);
        JobView done = await farm.UntilEndedAsync(first);
        Assert.Equal((JobState.Completed, done.Counts.Images), (done.State, done.Counts.Written));
    }

    [Fact]
    public async Task A_job_whose_lane_has_no_workers_any_more_keeps_no_place_that_another_wants()
    {
        await using ToyFarm farm = await ToyFarm.StartAsync(_work["data"], new HeadOptions { DataFolder = "", MaxOpenJobs = 1 });
        string first = (await farm.SubmitAsync(Prompts)).Id;
        await using (ToyWorker left = farm.Hire())
        {
            left.MostImages = 5;
            await farm.UntilAsync(first, job => job.Counts.Written == 5);
        }

        await using var other = new ToyWorker(new ToyModel { Numerics = farm.Model.Numerics with { Dtype = "bfloat16" } }, farm.Queue, farm.Registry);
        string second = (await farm.SubmitAsync(["one more"])).Id;
        Assert.Equal(JobState.Completed, (await farm.UntilEndedAsync(second)).State);
        JobView waiting = await farm.GetAsync(first);
        Assert.Equal(JobState.Queued, waiting.State);
        Assert.Contains("worker", waiting.Reason, StringComparison.Ordinal);
        await using ToyWorker back = farm.Hire();
        JobView done = await farm.UntilEndedAsync(first);
        Assert.Equal((JobState.Completed, done.Counts.Images, null), (done.State, done.Counts.Written, done.Reason));
    }

    [Fact]
    public async Task A_job_behind_another_of_its_tenant_says_that_it_waits_for_its_turn()
    {
        await using ToyFarm farm = await ToyFarm.StartAsync(_work["data"]);
        await using ToyWorker worker = farm.Hire();
        worker.MostImages = 5;
        string first = (await farm.SubmitAsync([.. Enumerable.Range(0, 2000).Select(i => $"prompt {i}")])).Id;
        await farm.UntilAsync(first, job => job.Counts.Written == 5);
        string second = (await farm.SubmitAsync(["one more"])).Id;
        await farm.UntilAsync(second, job => job.Reason?.StartsWith("waits for its turn", StringComparison.Ordinal) == true);
        await farm.ApplyAsync(first, JobCommand.Cancel);
        worker.MostImages = int.MaxValue;
        JobView done = await farm.UntilEndedAsync(second);
        Assert.Equal((JobState.Completed, null), (done.State, done.Reason));
    }

    private sealed class Weights : ITenantDirectory
    {
        private volatile int _heavy = 1;

        public int Heavy
        {
            set => _heavy = value;
        }

        public TenantRules RulesOf(string tenant) => new(Weight: tenant == "heavy" ? _heavy : 1);
    }
}
