using System.Collections.Concurrent;
using MetaQuery.Farm.Tests.Doubles;

namespace MetaQuery.Farm.Tests;

/// <summary>What the head makes of errors, deaths, losses and full disks.</summary>
public sealed class FarmHeadFaultTests : IDisposable
{
    private static readonly string[] Prompts = ["a red apple", "a green pear", "a red apple", "a blue cup", "a tree", "a cat"];

    private readonly Workspace _work = new();

    public void Dispose() => _work.Dispose();

    [Fact]
    public async Task An_image_that_fails_is_given_up_after_three_errors_and_a_retry_rewrites_its_shard_alone()
    {
        await using ToyFarm farm = await ToyFarm.StartAsync(_work["data"]);
        await using ToyWorker worker = farm.Hire();
        worker.Outcome = item => item is DenoiseItem { Position: 8 } ? new FailedOutcome("InvalidDataException: not a number", 1) : null;
        string id = (await farm.SubmitAsync(Prompts)).Id;
        JobView done = await farm.UntilEndedAsync(id);
        Assert.Equal((JobState.CompletedWithErrors, "1 of 18 images were given up"), (done.State, done.Reason));
        Assert.Equal((17L, 1L), (done.Counts.Written, done.Counts.Failed));
        Assert.Equal(3, worker.Seen.Count(item => item is DenoiseItem { Position: 8 }));
        var job = new JobReference(id, "toys");
        FailedSample failed = Assert.Single(await farm.Head.ListFailuresAsync(job, 10, CancellationToken.None));
        Assert.Equal(("000011", "InvalidDataException: not a number"), (failed.Key, failed.Reason));

        string manifest = _work[$"data/jobs/{id}/out/manifest.jsonl"];
        string[] lines = await File.ReadAllLinesAsync(manifest);
        worker.Outcome = _ => null;
        worker.Seen.Clear();
        Assert.Equal(JobState.Queued, (await farm.ApplyAsync(id, JobCommand.RetryFailed)).State);
        done = await farm.UntilEndedAsync(id);
        Assert.Equal((JobState.Completed, null), (done.State, done.Reason));
        Assert.Equal([8L], worker.Seen.OfType<DenoiseItem>().Select(item => item.Position));
        string[] after = await File.ReadAllLinesAsync(manifest);
        Assert.Equal(lines, after[..^1]); // one superseding line
        Assert.Contains("00001.tar", after[^1], StringComparison.Ordinal);
        Assert.Empty(await farm.Head.ListFailuresAsync(job, 10, CancellationToken.None));
    }

    [Fact]
    public async Task After_an_error_of_their_batch_images_run_singly_and_those_that_are_not_to_blame_are_made()
    {
        await using ToyFarm farm = await ToyFarm.StartAsync(_work["data"]);
        await using ToyWorker worker = farm.Hire();
        worker.Outcome = item => item is DenoiseItem { RunsSingly: false } ? new FailedOutcome("of the batch", 4) : null;
        JobView done = await farm.UntilEndedAsync((await farm.SubmitAsync(Prompts)).Id);
        Assert.Equal(JobState.Completed, done.State);
        Assert.All(worker.Seen.OfType<DenoiseItem>().GroupBy(item => item.Position), image => Assert.Equal([false, true], image.Select(item => item.RunsSingly)));
    }

    [Fact]
    public async Task What_kills_its_holders_runs_alone_after_three_deaths_and_is_given_up_after_three_more()
    {
        var clock = new JumpingClock();
        await using ToyFarm farm = await ToyFarm.StartAsync(_work["data"], queueClock: clock);
        string id = (await farm.SubmitAsync(["a killer"], spec => spec with { ImagesPerPrompt = 1 })).Id;
        var seen = new List<bool>();
        JobView job;
        while (true)
        {
            // a worker that dies with the image in its hands: it never reports and never renews
            await using ToyWorker worker = farm.Hire();
            worker.Outcome = item =>
            {
                if (item is DenoiseItem image)
                {
                    seen.Add(image.RunsAlone);
                    worker.Reports = false;
                }

                return null;
            };
            job = await farm.UntilAsync(id, now => !worker.Reports || JobLifecycle.IsFinal(now.State));
            if (JobLifecycle.IsFinal(job.State))
            {
                break;
            }

            long reclaimed = (await farm.Head.CountAsync(CancellationToken.None)).ReclaimedItems;
            clock.Jump(TimeSpan.FromSeconds(31)); // over the lease
            await farm.UntilAsync(id, _ => farm.Head.CountAsync(CancellationToken.None).Result.ReclaimedItems > reclaimed);
        }

        Assert.Equal([false, false, false, true, true, true], seen);
        Assert.Equal((JobState.CompletedWithErrors, 1L), (job.State, job.Counts.Failed));
        FailedSample failed = Assert.Single(await farm.Head.ListFailuresAsync(new JobReference(id, null), 1, CancellationToken.None));
        Assert.Equal("its worker died 6 times, 3 of them with nothing else at work", failed.Reason);
        Assert.Equal(6, (await farm.Head.CountAsync(CancellationToken.None)).ReclaimedItems);
    }

    [Fact]
    public async Task A_job_of_which_nothing_succeeds_fails_with_the_reason_instead_of_trying_all()
    {
        await using ToyFarm farm = await ToyFarm.StartAsync(_work["data"]);
        await using ToyWorker worker = farm.Hire();
        worker.Outcome = item => item is DenoiseItem ? new FailedOutcome("no such kernel", 1) : null;
        string id = (await farm.SubmitAsync([.. Enumerable.Range(0, 1000).Select(i => $"prompt {i}")])).Id;
        JobView job = await farm.UntilEndedAsync(id);
        Assert.Equal(JobState.Failed, job.State);
        Assert.Equal("the first 50 images all failed, the last with: no such kernel", job.Reason);
        worker.Outcome = _ => null;
        await farm.ApplyAsync(id, JobCommand.RetryFailed);
        Assert.Equal(JobState.Completed, (await farm.UntilEndedAsync(id)).State);
    }

    [Fact]
    public async Task A_condition_that_vanished_is_made_again_and_nothing_is_counted()
    {
        await using ToyFarm farm = await ToyFarm.StartAsync(_work["data"]);
        var cache = new ConcurrentDictionary<ConditionKey, bool>();
        int lost = 0;
        await using var worker = new ToyWorker(farm.Model, farm.Queue, farm.Registry, cache);
        worker.Outcome = item =>
        {
            if (item is DenoiseItem image && image.Position % 5 == 4 && image.Attempt == 0 && cache.TryRemove(image.Condition, out _))
            {
                lost++;
            }

            return null;
        };
        JobView done = await farm.UntilEndedAsync((await farm.SubmitAsync(Prompts)).Id);
        Assert.Equal((JobState.Completed, 18L), (done.State, done.Counts.Written));
        FarmCounters counts = await farm.Head.CountAsync(CancellationToken.None);
        Assert.True(lost > 0);
        Assert.Equal((6L + lost, (long)lost), (counts.Passes, counts.PassesAgain)); // five prompts, the empty one
    }

    [Fact]
    public async Task A_prompt_that_cannot_be_encoded_fails_all_its_images_and_no_others()
    {
        await using ToyFarm farm = await ToyFarm.StartAsync(_work["data"]);
        await using ToyWorker worker = farm.Hire();
        worker.Outcome = item => item is EncodeItem { Request.Caption: "a blue cup" } ? new FailedOutcome("no blue cups", item.RunsSingly ? 1 : 8) : null;
        JobView done = await farm.UntilEndedAsync((await farm.SubmitAsync(Prompts)).Id);
        Assert.Equal((JobState.CompletedWithErrors, 15L, 3L), (done.State, done.Counts.Written, done.Counts.Failed));
        Assert.Equal([false, true, true], worker.Seen.Where(item => item is EncodeItem { Request.Caption: "a blue cup" }).Select(item => item.RunsSingly)); // the batch's error is the first of three
    }
}
