using MetaQuery.Farm.Tests.Doubles;
using Microsoft.Extensions.Logging;

namespace MetaQuery.Farm.Tests;

/// <summary>What an operator reads of a head's life.</summary>
public sealed class FarmHeadLogTests : IDisposable
{
    private readonly Workspace _work = new();

    public void Dispose() => _work.Dispose();

    [Fact]
    public async Task A_jobs_states_workers_that_come_and_go_and_what_is_given_up_are_logged()
    {
        var log = new LogBook();
        string id;
        await using (ToyFarm farm = await ToyFarm.StartAsync(_work["data"], new HeadOptions { DataFolder = "", Log = log }))
        {
            ToyWorker worker = farm.Hire();
            worker.Outcome = item => item is DenoiseItem { Position: 1 } ? new FailedOutcome("not a number", 1) : null;
            id = (await farm.SubmitAsync(["a"])).Id;
            await farm.UntilEndedAsync(id);
            await farm.ApplyAsync(id, JobCommand.Delete);
            await worker.DisposeAsync();
            await ToyFloor.Until(() => log.Entries.Any(entry => entry.Message.StartsWith($"worker {worker.Info.Id} is gone", StringComparison.Ordinal)));
            Assert.Contains(log.Entries, entry => entry.Message == $"worker {worker.Info.Id} has joined: Both, 1 slots on cpu, lane {worker.Info.Lane}");
        }

        string[] states = [.. log.Entries.Where(entry => entry.Id == 3).Select(entry => entry.Message)];
        Assert.Equal(
            [
                $"job {id} of toys is running, it was queued: 0 of 3 images written, 0 failed; no reason",
                $"job {id} of toys is finishing, it was running: 2 of 3 images written, 1 failed; no reason",
                $"job {id} of toys is completed_with_errors, it was finishing: 2 of 3 images written, 1 failed; 1 of 3 images were given up",
            ],
            states);
        Assert.Contains(log.Entries, entry => entry == (7, LogLevel.Warning, $"item d/{id}/1 is given up: not a number"));
        Assert.Contains(log.Entries, entry => entry.Message == $"job {id} of toys is deleted: as asked");
        Assert.Contains(log.Entries, entry => entry.Message == "the head has started with 0 jobs, 0 of them unfinished");
        Assert.All(log.Entries, entry => Assert.DoesNotContain('\n', entry.Message));
    }

    [Fact]
    public void Disk_and_queue_are_told_of_when_they_go_and_when_they_are_back_not_at_every_try()
    {
        var log = new LogBook();
        var troubles = new Troubles(log);
        troubles.Queue("feed", "no route");
        troubles.Queue("receive", "no answer");
        troubles.Queue("feed", "no route");
        Assert.NotNull(troubles.Now);
        troubles.Queue("feed", null);
        Assert.Equal("no answer", troubles.Now);
        troubles.Queue("receive", null);
        Assert.Null(troubles.Now);
        Assert.Equal([11, 12], log.Entries.Select(entry => entry.Id));

        log.Entries.Clear();
        troubles.DiskRefused("full", isFirst: true);
        troubles.DiskRefused("full", isFirst: true);
        troubles.DiskRefused("full", isFirst: false);
        troubles.DiskDone();
        Assert.True(troubles.IsDiskAway); // one can write, another still waits
        troubles.DiskDone();
        Assert.False(troubles.IsDiskAway);
        Assert.Equal([9, 10], log.Entries.Select(entry => entry.Id));
    }
}
