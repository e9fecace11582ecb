using System.Collections.Concurrent;
using MetaQuery.Data;
using MetaQuery.Farm.Tests.Doubles;

namespace MetaQuery.Farm.Tests;

public sealed class FarmHeadTests : IDisposable
{
    private readonly Workspace _work = new();

    public void Dispose() => _work.Dispose();

    [Fact]
    public async Task A_submitted_job_becomes_shards_a_manifest_and_a_contact_sheet()
    {
        await using ToyFarm farm = await ToyFarm.StartAsync(_work["data"]);
        await using ToyWorker worker = farm.Hire();
        JobView taken = await farm.SubmitAsync(["a red apple", "a green pear", "a red apple"]);
        Assert.Equal(JobState.Queued, taken.State);
        JobView done = await farm.UntilEndedAsync(taken.Id);
        Assert.Equal((JobState.Completed, null), (done.State, done.Reason));
        Assert.Equal(new JobCounts(3, 9, 9, 9, 9, 9, 0), done.Counts);
        Assert.Equal(3, worker.Encoded); // two prompts and the empty one
        string folder = _work[$"data/jobs/{done.Id}/out"];
        List<ShardSample> samples = [.. new[] { "00000.tar", "00001.tar" }.SelectMany(name => WebDatasetShardReader.Read(Path.Combine(folder, name)))];
        Assert.Equal(9, samples.Count);
        Assert.Equal(
            ["00000.tar", "00001.tar", "manifest.jsonl", "contact-sheet.png"],
            (await farm.Head.ListFilesAsync(new JobReference(done.Id, "toys"), CancellationToken.None)).Select(file => file.Name));
        SamplePage page = await farm.Head.ListSamplesAsync(new JobReference(done.Id, "toys"), 5, 3, CancellationToken.None);
        Assert.Equal([5L, 6, 7], page.Samples.Select(sample => sample.Position));
        Assert.Equal(8, page.NextPosition);
        Assert.Equal("a red apple", page.Samples[1].Prompt);
    }

    [Fact]
    public async Task Without_a_worker_a_job_waits_and_says_for_what()
    {
        await using ToyFarm farm = await ToyFarm.StartAsync(_work["data"]);
        JobView taken = await farm.SubmitAsync(["a"]);
        JobView waiting = await farm.UntilAsync(taken.Id, job => job.Reason is not null);
        Assert.Equal((JobState.Queued, "waits for a worker with model toy"), (waiting.State, waiting.Reason));
        Assert.False(farm.Head.Readiness.IsReady);
        await using ToyWorker worker = farm.Hire();
        Assert.Equal(JobState.Completed, (await farm.UntilEndedAsync(taken.Id)).State);
        Assert.True(farm.Head.Readiness.IsReady);
    }

    [Fact]
    public async Task With_workers_of_one_role_alone_a_job_waits_and_says_for_which()
    {
        await using ToyFarm farm = await ToyFarm.StartAsync(_work["data"]);
        var cache = new ConcurrentDictionary<ConditionKey, bool>();
        ToyWorker dit = farm.Hire(WorkRoles.Dit, cache);
        string id = (await farm.SubmitAsync([.. Enumerable.Range(0, 80).Select(i => $"prompt {i}")])).Id;
        await farm.UntilAsync(id, job => job is { State: JobState.Queued, Reason: "waits for a worker of role mllm with model toy" });
        Assert.Contains("no worker of role mllm", farm.Head.Readiness.Reason, StringComparison.Ordinal);

        dit.MostImages = 5;
        ToyWorker mllm = farm.Hire(WorkRoles.Mllm, cache);
        await farm.UntilAsync(id, job => job is { State: JobState.Running, Counts.Written: 5, Reason: null });
        Assert.True(farm.Head.Readiness.IsReady);
        await dit.DisposeAsync();
        await farm.UntilAsync(id, job => job.State == JobState.Queued && job.Reason!.StartsWith("waits for a worker of role dit that computes as the job began", StringComparison.Ordinal));

        // what is encoded is made though the encoder is gone; only then the job waits for one
        await mllm.DisposeAsync();
        await using ToyWorker other = farm.Hire(WorkRoles.Dit, cache);
        await farm.UntilAsync(id, job => job.State == JobState.Queued && job.Reason!.StartsWith("waits for a worker of role mllm", StringComparison.Ordinal)
            && job.Counts.Written > 5 && job.Counts.Written == job.Counts.Encoded);
        await using ToyWorker again = farm.Hire(WorkRoles.Mllm, cache);
        Assert.Equal((JobState.Completed, 240L), (await farm.UntilEndedAsync(id)) is var done ? (done.State, done.Counts.Written) : default);
    }

    [Fact]
    public async Task A_jobs_time_limit_travels_with_its_prompts_as_with_its_images()
    {
        await using ToyFarm farm = await ToyFarm.StartAsync(_work["data"]);
        await using ToyWorker worker = farm.Hire();
        await farm.UntilEndedAsync((await farm.SubmitAsync(["a"], and: submission => submission with { TaskTimeout = TimeSpan.FromSeconds(7) })).Id);
        Assert.Equal(2 + 3, worker.Seen.Count);
        Assert.All(worker.Seen, item => Assert.Equal(TimeSpan.FromSeconds(7), item.Timeout));
    }

    [Fact]
    public async Task A_listing_misses_no_sample_whose_shard_is_finished_at_that_moment()
    {
        await using ToyFarm farm = await ToyFarm.StartAsync(_work["data"]);
        await using ToyWorker worker = farm.Hire();
        string id = (await farm.SubmitAsync(
            [.. Enumerable.Range(0, 400).Select(i => $"prompt {i % 9}")], spec => spec with { ImagesPerPrompt = 1, SamplesPerShard = 1 })).Id;
        var job = new JobReference(id, null);
        JobView before;
        do
        {
            before = await farm.GetAsync(id);
            SamplePage page = await farm.Head.ListSamplesAsync(job, 0, 1000, CancellationToken.None);
            Assert.InRange(page.Samples.Count, before.Counts.Written, 400);
        }
        while (!JobLifecycle.IsFinal(before.State));
        Assert.Equal(400, before.Counts.Written);
    }

    [Fact]
    public async Task A_data_folder_in_use_is_refused_in_one_line()
    {
        await using ToyFarm farm = await ToyFarm.StartAsync(_work["data"]);
        var queue = new MemoryWorkQueue(TimeSpan.FromSeconds(1));
        var refused = await Assert.ThrowsAsync<DataFolderInUseException>(() => FarmHead.StartAsync(
            farm.Model.Description, queue, farm.Registry, new HeadOptions { DataFolder = _work["data"] }, CancellationToken.None));
        Assert.DoesNotContain('\n', refused.Message);
        Assert.Contains("is in use", refused.Message, StringComparison.Ordinal);
    }
}
