using System.Text;
using MetaQuery.Farm.Tests.Doubles;

namespace MetaQuery.Farm.Tests;

/// <summary>Jobs beside each other on a full disk: what one waits for holds up no other, and what makes room goes first.</summary>
public sealed class FullDiskTests : IDisposable
{
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(60);

    private readonly Workspace _work = new();

    public void Dispose() => _work.Dispose();

    [Fact]
    public async Task A_job_is_called_back_while_another_ones_failures_wait_for_the_disk()
    {
        using var disk = SmallDisk.TryMount(_work["disk"], kibibytes: 8192, out string? why);
        if (disk is null)
        {
            Console.WriteLine($"not covered here: {why}");
            return;
        }

        await using ToyFarm farm = await ToyFarm.StartAsync(
            _work["disk/data"], new HeadOptions { DataFolder = "", FeedAhead = TimeSpan.Zero }, new ToyModel { ReadsPictures = true }, leaseFolder: _work.Root);
        await using ToyWorker worker = farm.Hire();
        worker.MostImages = 0;
        string other = (await farm.SubmitAsync(["a cat"], and: submission => submission with { Tenant = "others" })).Id;
        await farm.UntilAsync(other, job => job.State == JobState.Running);
        await farm.ApplyAsync(other, JobCommand.Pause); // open, and handing out nothing
        worker.MostImages = 20;
        string id = (await farm.Head.SubmitAsync(new JobSubmission { Spec = Spec, Prompts = LateFaults(), PromptsFormat = "jsonl", Tenant = "toys" }, CancellationToken.None)).Id;
        await farm.UntilAsync(id, job => job.Counts.Written == 20);
        disk.Fill();
        worker.Outcome = item =>
        {
            worker.Reports &= item is EncodeItem; // the images that it takes now only make room in the queue, for which more prompts are read
            return null;
        };
        worker.MostImages = int.MaxValue;
        await farm.UntilAsync(id, _ => farm.Head.Readiness.Reason?.Contains("the disk is full", StringComparison.Ordinal) == true);
        Assert.Equal(JobState.Cancelled, (await farm.ApplyAsync(other, JobCommand.Cancel).WaitAsync(Limit)).State);
        Assert.Equal(JobState.Cancelled, (await farm.ApplyAsync(id, JobCommand.Cancel).WaitAsync(Limit)).State);
        worker.Reports = true;
    }

    [Fact]
    public async Task On_a_full_disk_a_head_starts_beside_a_damaged_job_keeps_deadlines_and_the_retention_rule_makes_room()
    {
        using var disk = SmallDisk.TryMount(_work["disk"], kibibytes: 8192, out string? why);
        if (disk is null)
        {
            Console.WriteLine($"not covered here: {why}");
            return;
        }

        (string old, string good, string damaged, string late) = await LeaveJobsAsync();
        File.WriteAllText(_work[$"disk/data/jobs/{damaged}/prompts.json"], "not what was promised");
        EndJournalWithItsPage(_work["disk/data/journal/farm.journal"]);
        disk.Fill();
        var clock = new JumpingClock();
        await using ToyFarm farm = await ToyFarm.StartAsync(
            _work["disk/data"], new HeadOptions { DataFolder = "", Clock = clock, KeepDataSets = TimeSpan.FromHours(2) }, leaseFolder: _work.Root);
        Assert.Equal([JobState.Queued, JobState.Queued], [(await farm.GetAsync(good)).State, (await farm.GetAsync(damaged)).State]);
        Assert.Contains("the disk is full", farm.Head.Readiness.Reason, StringComparison.Ordinal);
        clock.Jump(TimeSpan.FromHours(1.5));
        Assert.Contains("its deadline", (await farm.UntilAsync(late, job => job.State == JobState.Cancelled)).Reason, StringComparison.Ordinal);
        clock.Jump(TimeSpan.FromHours(1));
        await ToyFloor.Until(() => !Directory.Exists(_work[$"disk/data/jobs/{old}"]));
        await farm.UntilAsync(damaged, job => job.State == JobState.Failed);
        await using ToyWorker worker = farm.Hire();
        Assert.Equal(JobState.Completed, (await farm.UntilEndedAsync(good)).State);
        await ToyFloor.Until(() => farm.Head.Readiness.IsReady);
    }

    [Fact]
    public async Task A_head_that_fails_to_start_lets_the_jobs_go_that_it_had_opened()
    {
        (_, string good, string damaged, _) = await LeaveJobsAsync();
        File.WriteAllText(_work[$"disk/data/jobs/{damaged}/prompts.json"], "not what was promised");
        var clock = new BreakingClock();
        clock.Break(); // a failed job's end has a time
        await Assert.ThrowsAsync<InvalidOperationException>(() => ToyFarm.StartAsync(_work["disk/data"], new HeadOptions { DataFolder = "", Clock = clock }, leaseFolder: _work.Root));
        await using ToyFarm farm = await ToyFarm.StartAsync(_work["disk/data"], leaseFolder: _work.Root);
        await using ToyWorker worker = farm.Hire();
        Assert.Equal(JobState.Completed, (await farm.UntilEndedAsync(good)).State);
        Assert.Equal(JobState.Failed, (await farm.GetAsync(damaged)).State);
    }

    [Fact]
    public async Task A_reason_that_comes_after_a_jobs_end_does_not_replace_the_one_it_ended_for()
    {
        await using ToyFarm farm = await ToyFarm.StartAsync(_work["data"]);
        string id = (await farm.SubmitAsync(["a"])).Id;
        await farm.ApplyAsync(id, JobCommand.Cancel);
        JobView before = await farm.GetAsync(id);
        JobPlan plan = JobPlan.Create(Spec with { Prompts = ["a"] }, farm.Model.Description.Conditions, farm.Model.Description.Images, CancellationToken.None);
        JobSession session = JobSession.Open(plan, _work["out"], new SessionOptions { JobId = id }); // let go by the head
        ((IDispatcherHost)farm.Head).Failed(session, new InvalidOperationException("too late"));
        await ToyFloor.Until(() => session.IsClosed);
        JobView after = await farm.GetAsync(id);
        Assert.Equal((JobState.Cancelled, "cancelled", before.FinishedAt), (after.State, after.Reason, after.FinishedAt));
    }

    private static JobSpec Spec => new() { OutFolder = "ignored", SamplesPerShard = 7, Seed = 5 };

    /// <summary>Prompts of nine whole shards, then one whose lines cannot be made.</summary>
    private static MemoryStream LateFaults() => new(Encoding.UTF8.GetBytes(string.Join(
        '\n', Enumerable.Range(0, 70).Select(i => i < 63 ? $$"""{"prompt":"{{i}}"}""" : """{"prompt":"x","images":["nowhere"]}"""))));

    /// <summary>A head's end with one job that is done, two that have begun and one that waits.</summary>
    private async Task<(string Old, string Good, string Damaged, string Late)> LeaveJobsAsync()
    {
        await using ToyFarm farm = await ToyFarm.StartAsync(_work["disk/data"], leaseFolder: _work.Root);
        await using ToyWorker worker = farm.Hire();
        string old = (await farm.UntilEndedAsync((await farm.SubmitAsync(["a", "b"], spec => spec with { Size = new ImageSize(64, 64), ImagesPerPrompt = 8 })).Id)).Id;
        worker.MostImages = 16;
        string good = await BeginAsync("toys");
        string damaged = await BeginAsync("others");
        string late = (await farm.SubmitAsync(["d"], and: submission => submission with { Deadline = DateTimeOffset.UtcNow.AddHours(1) })).Id;
        await farm.ApplyAsync(late, JobCommand.Pause);
        return (old, good, damaged, late);

        async Task<string> BeginAsync(string tenant)
        {
            string id = (await farm.SubmitAsync(["c"], and: submission => submission with { Tenant = tenant })).Id;
            await farm.UntilAsync(id, job => job.State == JobState.Running);
            return id;
        }
    }

    /// <summary>Makes the journal end where its file's last page does: the next record needs a page of the disk.</summary>
    private static void EndJournalWithItsPage(string path)
    {
        const byte usage = 4;
        using FarmJournal journal = FarmJournal.Open(path, replay: null);
        int free = 4096 - (int)((journal.Bytes + JournalRecord.HeaderBytes + Record(0).Length) % 4096);
        journal.Append(usage, Record(free));
        journal.Flush();
        Assert.Equal(0, journal.Bytes % 4096);

        static byte[] Record(int padding) => Encoding.UTF8.GetBytes($$"""{"Tenant":"{{new string('x', padding)}}","Day":"2025-01-01","Images":0}""");
    }
}
