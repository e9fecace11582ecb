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
