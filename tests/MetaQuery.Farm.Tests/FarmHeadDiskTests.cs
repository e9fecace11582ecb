using MetaQuery.Data;
using MetaQuery.Farm.Tests.Doubles;

namespace MetaQuery.Farm.Tests;

/// <summary>Disks that are full, and disks that lose what they were given.</summary>
public sealed class FarmHeadDiskTests : IDisposable
{
    private static readonly string[] Prompts = ["a red apple", "a green pear", "a red apple", "a blue cup", "a tree", "a cat"];
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(60);

    private readonly Workspace _work = new();

    public void Dispose() => _work.Dispose();

    [Fact]
    public async Task A_full_disk_pauses_everything_says_so_and_goes_on_when_there_is_room()
    {
        using var disk = SmallDisk.TryMount(_work["disk"], kibibytes: 200, out string? why);
        if (disk is null)
        {
            Console.WriteLine($"not covered here: {why}");
            return;
        }

        JobView whole;
        await using (ToyFarm plenty = await ToyFarm.StartAsync(_work["plenty"]))
        {
            await using ToyWorker calm = plenty.Hire();
            whole = await plenty.UntilEndedAsync((await plenty.SubmitAsync(Prompts, Large)).Id);
        }

        await using ToyFarm farm = await ToyFarm.StartAsync(_work["disk/data"]);
        await using ToyWorker worker = farm.Hire();
        string id = (await farm.SubmitAsync(Prompts, Large)).Id;
        await farm.UntilAsync(id, _ => farm.Head.Readiness.Reason?.Contains("the disk is full", StringComparison.Ordinal) == true);
        JobView stuck = await farm.UntilAsync(id, job => job.Counts.Denoised > job.Counts.Written); // made, but not on disk: said so
        Assert.InRange(stuck.Counts.Written, 1, 29);
        disk.Grow(kibibytes: 8192);
        JobView done = await farm.UntilEndedAsync(id);
        Assert.Equal((JobState.Completed, 30L, 30L), (done.State, done.Counts.Denoised, done.Counts.Written));
        Assert.True(farm.Head.Readiness.IsReady);
        AssertSameOutput($"plenty/jobs/{whole.Id}/out", $"disk/data/jobs/{id}/out");
    }

    [Fact]
    public async Task A_job_that_waits_for_a_full_disk_can_be_cancelled_and_deleted_which_frees_it()
    {
        using var disk = SmallDisk.TryMount(_work["disk"], kibibytes: 200, out string? why);
        if (disk is null)
        {
            Console.WriteLine($"not covered here: {why}");
            return;
        }

        await using ToyFarm farm = await ToyFarm.StartAsync(_work["disk/data"]);
        await using ToyWorker worker = farm.Hire();
        worker.MostImages = 7; // a shard's worth, for which as much again is missing
        string id = (await farm.SubmitAsync(["a cat", "a dog", "a cup", "a tree", "a car", "a hat"], Large)).Id; // none twice: so the first seven images come first
        await farm.UntilAsync(id, job => job.Counts.Written == 7 && farm.Head.Readiness.Reason?.Contains("the disk is full", StringComparison.Ordinal) == true);
        worker.MostImages = int.MaxValue;
        disk.Fill();
        Assert.Equal(JobState.Cancelled, (await farm.ApplyAsync(id, JobCommand.Cancel).WaitAsync(Limit)).State);
        await farm.ApplyAsync(id, JobCommand.Delete).WaitAsync(Limit);
        await ToyFloor.Until(() => !Directory.Exists(_work[$"disk/data/jobs/{id}"])); // a report that is just being written may hold it until the next look
        Assert.Equal(JobState.Completed, (await farm.UntilEndedAsync((await farm.SubmitAsync(["a small one"])).Id)).State);
        await ToyFloor.Until(() => farm.Head.Readiness.IsReady);
    }

    [Fact]
    public async Task A_head_starts_on_a_full_disk_shows_its_jobs_says_so_and_goes_on_by_itself_when_there_is_room()
    {
        using var disk = SmallDisk.TryMount(_work["disk"], kibibytes: 8192, out string? why);
        if (disk is null)
        {
            Console.WriteLine($"not covered here: {why}");
            return;
        }

        string id;
        await using (ToyFarm before = await ToyFarm.StartAsync(_work["disk/data"]))
        {
            await using ToyWorker first = before.Hire();
            first.MostImages = 9;
            id = (await before.SubmitAsync(Prompts, Large)).Id;
            await before.UntilAsync(id, job => job.Counts.Written == 9);
        }

        File.Delete(_work["disk/data/journal/reserve"]); // of an older version's folder
        string filler = disk.Fill();
        await using ToyFarm farm = await ToyFarm.StartAsync(_work["disk/data"]);
        Assert.Contains("the disk is full", farm.Head.Readiness.Reason, StringComparison.Ordinal);
        Assert.Equal((JobState.Queued, 9L), (await farm.GetAsync(id)) is var job ? (job.State, job.Counts.Written) : default);
        var reference = new JobReference(id, null);
        Assert.Equal(9, (await farm.Head.ListSamplesAsync(reference, 0, 100, CancellationToken.None)).Samples.Count);
        await Assert.ThrowsAsync<StorageException>(() => farm.SubmitAsync(["one more"]));
        File.Delete(filler);
        await using ToyWorker worker = farm.Hire();
        Assert.Equal(JobState.Completed, (await farm.UntilEndedAsync(id)).State);
        await ToyFloor.Until(() => farm.Head.Readiness.IsReady);
        Assert.Equal(30, worker.Seen.Count(item => item is DenoiseItem) + 9);
        Assert.True(File.Exists(_work["disk/data/journal/reserve"]));
    }

    [Fact]
    public async Task A_job_that_a_full_disk_keeps_from_opening_is_not_planned_anew_with_each_look()
    {
        using var disk = SmallDisk.TryMount(_work["disk"], kibibytes: 8192, out string? why);
        if (disk is null)
        {
            Console.WriteLine($"not covered here: {why}");
            return;
        }

        await using ToyFarm farm = await ToyFarm.StartAsync(_work["disk/data"], leaseFolder: _work.Root);
        string id = (await farm.SubmitAsync(["a cat"])).Id;
        using (var prompts = new FileStream(_work[$"disk/data/jobs/{id}/prompts.json"], FileMode.Open))
        {
            prompts.WriteByte((byte)'!'); // who plans it again finds that
        }

        string filler = disk.Fill();
        await using ToyWorker worker = farm.Hire();
        await farm.UntilAsync(id, job => job.Reason?.Contains("the disk is full", StringComparison.Ordinal) == true);
        File.Delete(filler);
        Assert.Equal(JobState.Completed, (await farm.UntilEndedAsync(id)).State);
    }

    [Fact]
    public async Task A_record_that_was_damaged_on_disk_is_made_again_alone_and_the_bytes_are_right()
    {
        JobView whole;
        await using (ToyFarm calm = await ToyFarm.StartAsync(_work["calm"]))
        {
            await using ToyWorker hand = calm.Hire();
            whole = await calm.UntilEndedAsync((await calm.SubmitAsync(Prompts)).Id);
        }

        await using ToyFarm farm = await ToyFarm.StartAsync(_work["data"]);
        await using ToyWorker worker = farm.Hire();
        worker.MostImages = 6; // one short of the first shard
        worker.Outcome = item => item is DenoiseItem { Position: 16 } ? new FailedOutcome("x", 1) : null;
        string id = (await farm.SubmitAsync(Prompts)).Id;
        await farm.UntilAsync(id, job => job.Counts.Written == 6);
        Damage(_work[$"data/jobs/{id}/out/.farm/00000.spool"], record: 2);
        worker.MostImages = int.MaxValue;
        JobView done = await farm.UntilEndedAsync(id);
        Assert.Equal((JobState.CompletedWithErrors, 17L, 1L), (done.State, done.Counts.Written, done.Counts.Failed));
        Assert.Equal(1, (await farm.Head.CountAsync(CancellationToken.None)).DamagedRecords);
        Assert.Equal([2], worker.Seen.OfType<DenoiseItem>().Where(item => item.Position != 16).GroupBy(item => item.Position).Where(image => image.Count() > 1).Select(image => image.Count()));
        worker.Outcome = _ => null;
        await farm.ApplyAsync(id, JobCommand.RetryFailed);
        Assert.Equal(JobState.Completed, (await farm.UntilEndedAsync(id)).State);
        AssertSameOutput($"calm/jobs/{whole.Id}/out", $"data/jobs/{id}/out");
    }

    [Fact]
    public async Task The_last_shards_damaged_record_brings_its_job_back_from_finishing()
    {
        await using ToyFarm farm = await ToyFarm.StartAsync(_work["data"]);
        await using ToyWorker worker = farm.Hire();
        worker.MostImages = 2;
        string id = (await farm.SubmitAsync(["one prompt"])).Id;
        await farm.UntilAsync(id, job => job.Counts.Written == 2);
        Damage(_work[$"data/jobs/{id}/out/.farm/00000.spool"], record: 0);
        worker.MostImages = 3;
        JobView waiting = await farm.UntilAsync(id, job => job.State == JobState.Running && farm.Head.CountAsync(CancellationToken.None).Result.DamagedRecords == 1);
        Assert.Equal(new JobCounts(1, 3, 3, 3, 2, 2, 0), waiting.Counts);
        worker.MostImages = int.MaxValue;
        Assert.Equal(new JobCounts(1, 3, 3, 3, 3, 3, 0), (await farm.UntilEndedAsync(id)).Counts);
    }

    [Fact]
    public async Task A_damaged_record_of_the_contact_sheets_samples_is_had_from_its_shard_and_holds_up_nobody()
    {
        await using ToyFarm farm = await ToyFarm.StartAsync(_work["data"]);
        await using ToyWorker worker = farm.Hire();
        string whole = (await farm.SubmitAsync(Prompts)).Id;
        await farm.UntilEndedAsync(whole);
        worker.MostImages = worker.Seen.OfType<DenoiseItem>().Count() + 17; // all but the last
        string id = (await farm.SubmitAsync(Prompts)).Id;
        await farm.UntilAsync(id, job => job.Counts.Written == 17);
        Damage(_work[$"data/jobs/{id}/out/.farm/contact-sheet.spool"], record: 0);
        worker.MostImages = int.MaxValue;
        Assert.Equal(JobState.Completed, (await farm.UntilEndedAsync(id)).State);
        AssertSameOutput($"data/jobs/{whole}/out", $"data/jobs/{id}/out");
    }

    private static JobSpec Large(JobSpec spec) => spec with { Size = new ImageSize(64, 64), ImagesPerPrompt = 5 };

    /// <summary>Turns one bit in a record's middle.</summary>
    private static void Damage(string spool, int record)
    {
        byte[] bytes = File.ReadAllBytes(spool);
        int start = 0;
        for (int i = 0; i <= record; i++)
        {
            start = bytes.AsSpan(start + 1).IndexOf("MQSP"u8) is >= 0 and int next && i < record ? start + 1 + next : start;
        }

        using var file = new FileStream(spool, FileMode.Open, FileAccess.Write, FileShare.ReadWrite);
        file.Position = start + 40;
        file.WriteByte((byte)(bytes[start + 40] ^ 1));
    }

    private void AssertSameOutput(string expected, string actual) => Assert.Equal(
        Workspace.HashOutput(_work[expected]).Where(file => file.Key != Manifest.FileName), Workspace.HashOutput(_work[actual]).Where(file => file.Key != Manifest.FileName));
}
