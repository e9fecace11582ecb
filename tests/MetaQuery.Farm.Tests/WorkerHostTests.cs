using System.Collections.Concurrent;
using MetaQuery.Farm.Tests.Doubles;

namespace MetaQuery.Farm.Tests;

public sealed class WorkerHostTests
{
    [Fact]
    public async Task What_is_fed_is_made_with_the_bytes_that_a_single_call_gives()
    {
        await using var floor = new ToyFloor();
        string[] captions = ["a cat", "a dog", ""];
        WorkerHost host = floor.Start(new ToyModel(), new WorkerOptions { Slots = 3 });
        await floor.FeedAsync([.. captions.Select(ToyFloor.Prompt)]);
        List<ReceivedReport> encoded = await floor.ReceiveAsync(3);
        Assert.All(encoded, report => Assert.True(Assert.IsType<EncodedOutcome>(report.Outcome).WasMade));
        DenoiseItem[] items = [.. Enumerable.Range(0, 30).Select(i => ToyFloor.Image($"job {i % 3}", i, captions[i % 2], steps: 4 + (i % 2)))];
        await floor.FeedAsync(items);
        foreach (ReceivedReport report in await floor.ReceiveAsync(30))
        {
            ToyFloor.AssertSame(ToyFloor.Expected((DenoiseItem)report.Item), report.Outcome);
        }

        Assert.Equal(30, host.Counters.Images);
        Assert.Equal(3, host.Counters.Conditions);
        Assert.Equal(host.Counters.DenoiseBatches, host.SlotTimes.Sum(slot => slot.DenoiseBatches));
    }

    [Fact]
    public async Task Batches_mix_jobs_but_not_shapes()
    {
        await using var floor = new ToyFloor();
        floor.Know("a cat");
        DenoiseItem[] items =
        [
            .. Enumerable.Range(0, 4).Select(i => ToyFloor.Image($"job {i % 2}", i)), .. Enumerable.Range(0, 4).Select(i => ToyFloor.Image("job 0", 10 + i, steps: 9)),
        ];
        var jobs = items.ToDictionary(item => item.Seed, item => item.JobId);
        var batches = new ConcurrentQueue<(int Steps, int Rows, int Jobs)>();
        await floor.FeedAsync(items);
        floor.Start(new ToyModel
        {
            BeforeDenoise = (batch, _) => batches.Enqueue((batch.NumInferenceSteps, batch.Rows.Count, batch.Rows.Select(row => jobs[row.Seed]).Distinct().Count())),
        });
        await floor.ReceiveAsync(8);
        Assert.Equal([(4, 4, 2), (9, 4, 1)], batches.Order());
    }

    [Fact]
    public async Task While_a_batch_runs_the_next_one_is_leased_and_its_conditions_are_fetched()
    {
        await using var floor = new ToyFloor();
        floor.Know("a cat", "a dog");
        using var release = new ManualResetEventSlim();
        using var running = new SemaphoreSlim(0);
        await floor.FeedAsync([.. Enumerable.Range(0, 20).Select(i => ToyFloor.Image("a", i, i < 4 ? "a cat" : "a dog"))]);
        long before = floor.Cache.Counters.MemoryHits;
        floor.Start(new ToyModel
        {
            BeforeDenoise = (_, stop) =>
            {
                running.Release();
                release.Wait(stop);
            },
        });
        Assert.True(await running.WaitAsync(ToyFloor.Limit));
        await ToyFloor.Until(() => floor.Cache.Counters.MemoryHits - before == 16); // two lookups for each of the four that run and the four that are next
        Assert.Equal(8, (await floor.Queue.DepthAsync(floor.Lane, CancellationToken.None)).Leased);
        release.Set();
        await floor.ReceiveAsync(20);
    }

    [Fact]
    public async Task Interactive_items_pass_the_bulk_that_a_worker_has_ready()
    {
        await using var floor = new ToyFloor();
        floor.Know("a cat");
        using var running = new SemaphoreSlim(0);
        using var release = new SemaphoreSlim(0);
        var order = new ConcurrentQueue<string>();
        var model = new ToyModel
        {
            BeforeDenoise = (batch, stop) =>
            {
                order.Enqueue(batch.NumInferenceSteps == 9 ? "image" : "bulk");
                running.Release();
                release.Wait(stop);
            },
            BeforeEncode = requests => order.Enqueue(string.Join(' ', requests.Select(request => request.Caption))),
        };
        await floor.FeedAsync([.. Enumerable.Range(0, 60).Select(i => ToyFloor.Image("bulk", i))]);
        floor.Start(model);
        Assert.True(await running.WaitAsync(ToyFloor.Limit));
        await floor.FeedAsync([.. Enumerable.Range(0, 40).Select(i => ToyFloor.Prompt($"bulk {i}"))]); // not before: whether the slot begins with images or prompts is chance
        await ToyFloor.Until(() => floor.Queue.DepthAsync(floor.Lane, CancellationToken.None).Result.Leased == 4 + 4 + 16);
        await floor.FeedAsync(
            ToyFloor.Prompt("web") with { Priority = JobPriority.Interactive }, ToyFloor.Image("web", 0, steps: 9) with { Priority = JobPriority.Interactive });
        await ToyFloor.Until(() => floor.Queue.DepthAsync(floor.Lane, CancellationToken.None).Result.Leased == 4 + 4 + 16 + 2);
        release.Release(1000);
        await floor.ReceiveAsync(102);
        Assert.Equal(["bulk", "image", "web"], order.Take(3));
    }

    [Fact]
    public async Task A_cancelled_job_frees_its_slot_within_the_step()
    {
        await using var floor = new ToyFloor();
        floor.Know("a cat");
        using var running = new SemaphoreSlim(0);
        WorkerHost host = floor.Start(new ToyModel
        {
            BeforeDenoise = (batch, stop) =>
            {
                running.Release();
                if (batch.NumInferenceSteps == 9)
                {
                    stop.WaitHandle.WaitOne(); // a step ends where it is told to stop, and nowhere else
                }
            },
        });
        await floor.FeedAsync([.. Enumerable.Range(0, 10).Select(i => ToyFloor.Image("cancelled", i, steps: 9))]);
        Assert.True(await running.WaitAsync(ToyFloor.Limit));
        await floor.FeedAsync([.. Enumerable.Range(0, 4).Select(i => ToyFloor.Image("other", i))]);
        await floor.Queue.WithdrawAsync("cancelled", CancellationToken.None);
        Assert.All(await floor.ReceiveAsync(4), report => Assert.Equal("other", ((DenoiseItem)report.Item).JobId));
        Assert.Equal(1, host.Counters.CancelledBatches);
        Assert.Equal(4, host.Counters.Images);
    }

    [Fact]
    public async Task A_batch_with_rows_of_another_job_goes_on_when_one_job_is_cancelled()
    {
        await using var floor = new ToyFloor();
        floor.Know("a cat");
        using var running = new SemaphoreSlim(0);
        using var release = new ManualResetEventSlim();
        await floor.FeedAsync([.. Enumerable.Range(0, 4).Select(i => ToyFloor.Image(i == 0 ? "other" : "cancelled", i))]);
        WorkerHost host = floor.Start(new ToyModel
        {
            BeforeDenoise = (_, stop) =>
            {
                running.Release();
                release.Wait(stop);
            },
        });
        Assert.True(await running.WaitAsync(ToyFloor.Limit));
        await floor.Queue.WithdrawAsync("cancelled", CancellationToken.None);
        release.Set();
        ReceivedReport report = Assert.Single(await floor.ReceiveAsync(1));
        ToyFloor.AssertSame(ToyFloor.Expected((DenoiseItem)report.Item), report.Outcome);
        host.Drain();
        await floor.EndOf(host);
        Assert.Empty(await floor.Queue.ReceiveAsync(10, TimeSpan.Zero, CancellationToken.None));
        Assert.Equal(0, host.Counters.RefusedReports);
    }

    [Fact]
    public async Task A_worker_that_drains_finishes_what_it_has_begun_gives_back_the_rest_and_leaves()
    {
        await using var floor = new ToyFloor();
        floor.Know("a cat");
        using var running = new SemaphoreSlim(0);
        using var release = new ManualResetEventSlim();
        await floor.FeedAsync([.. Enumerable.Range(0, 20).Select(i => ToyFloor.Image("a", i))]);
        WorkerHost host = floor.Start(new ToyModel
        {
            BeforeDenoise = (_, stop) =>
            {
                running.Release();
                release.Wait(stop);
            },
        });
        Assert.True(await running.WaitAsync(ToyFloor.Limit));
        await ToyFloor.Until(() => floor.Queue.DepthAsync(floor.Lane, CancellationToken.None).Result.Leased == 8);
        host.Drain();
        List<ReceivedReport> returned = await floor.ReceiveAsync(4);
        Assert.All(returned, report => Assert.IsType<ReturnedOutcome>(report.Outcome));
        Assert.Equal(WorkerState.Draining, host.Status.State);
        release.Set();
        List<ReceivedReport> made = await floor.ReceiveAsync(4);
        Assert.All(made, report => ToyFloor.AssertSame(ToyFloor.Expected((DenoiseItem)report.Item), report.Outcome));
        await floor.EndOf(host);
        Assert.Equal(WorkerState.Drained, host.Status.State);
        Assert.Empty(await floor.Registry.ListAsync(CancellationToken.None));
        LaneDepth depth = await floor.Queue.DepthAsync(floor.Lane, CancellationToken.None);
        Assert.Equal((12, 0), (depth.WaitingDenoise, depth.Leased));
    }

    [Fact]
    public async Task A_worker_drains_when_the_registry_asks_for_it()
    {
        await using var floor = new ToyFloor();
        WorkerHost host = floor.Start(new ToyModel(), new WorkerOptions { LeaseTime = TimeSpan.FromMilliseconds(60) });
        await ToyFloor.Until(() => floor.Registry.DrainAsync(host.Info.Id, CancellationToken.None).Result);
        await floor.EndOf(host);
        Assert.Empty(await floor.Registry.ListAsync(CancellationToken.None));
    }

    [Fact]
    public async Task A_stopped_worker_gives_back_even_what_it_has_begun()
    {
        await using var floor = new ToyFloor();
        floor.Know("a cat");
        using var running = new SemaphoreSlim(0);
        await floor.FeedAsync([.. Enumerable.Range(0, 8).Select(i => ToyFloor.Image("a", i))]);
        using var stop = new CancellationTokenSource();
        using var host = new WorkerHost(
            new ToyModel
            {
                BeforeDenoise = (_, token) =>
                {
                    running.Release();
                    token.WaitHandle.WaitOne();
                },
            },
            floor.Queue, floor.Registry, floor.Cache, new WorkerOptions());
        Task run = host.RunAsync(stop.Token);
        Assert.True(await running.WaitAsync(ToyFloor.Limit));
        await stop.CancelAsync();
        await run.WaitAsync(ToyFloor.Limit);
        List<ReceivedReport> reports = await floor.ReceiveAsync(4);
        Assert.All(reports, report => Assert.IsType<ReturnedOutcome>(report.Outcome));
        Assert.Equal(0, (await floor.Queue.DepthAsync(floor.Lane, CancellationToken.None)).Leased);
    }

    [Fact]
    public async Task A_batch_that_takes_too_long_is_cancelled_and_reported_as_failed()
    {
        await using var floor = new ToyFloor();
        floor.Know("a cat");
        await floor.FeedAsync([.. Enumerable.Range(0, 3).Select(i => ToyFloor.Image("a", i) with { Timeout = TimeSpan.FromMilliseconds(30) })]);
        floor.Start(new ToyModel { BeforeDenoise = (_, stop) => stop.WaitHandle.WaitOne() });
        foreach (ReceivedReport report in await floor.ReceiveAsync(3))
        {
            var failed = Assert.IsType<FailedOutcome>(report.Outcome);
            Assert.Equal("the denoise batch took longer than 0:00:00.03", failed.Reason);
            Assert.Equal(3, failed.BatchRows);
        }
    }

    [Fact]
    public async Task A_model_that_does_not_stop_loses_its_rows_all_the_same()
    {
        await using var floor = new ToyFloor();
        floor.Know("a cat");
        using var release = new ManualResetEventSlim();
        await floor.FeedAsync(ToyFloor.Image("a", 0) with { Timeout = TimeSpan.FromMilliseconds(10) });
        WorkerHost host = floor.Start(
            new ToyModel { BeforeDenoise = (_, _) => release.Wait(ToyFloor.Limit) }, new WorkerOptions { LeaseTime = TimeSpan.FromMilliseconds(100) });
        var failed = Assert.IsType<FailedOutcome>(Assert.Single(await floor.ReceiveAsync(1)).Outcome);
        Assert.Contains("did not stop", failed.Reason, StringComparison.Ordinal);
        release.Set();
        host.Drain();
        await floor.EndOf(host);
        Assert.Empty(await floor.Queue.ReceiveAsync(10, TimeSpan.Zero, CancellationToken.None));
    }

    [Fact]
    public async Task A_slot_that_hangs_gives_back_the_batch_it_had_ready_and_takes_no_other_until_it_is_free()
    {
        await using var floor = new ToyFloor();
        floor.Know("a cat");
        using var release = new ManualResetEventSlim();
        var clock = new ManualClock();
        await floor.FeedAsync([.. Enumerable.Range(0, 12).Select(i => ToyFloor.Image("a", i) with { Timeout = TimeSpan.FromMinutes(2) })]);
        floor.Start(new ToyModel { BeforeDenoise = (_, _) => release.Wait(ToyFloor.Limit) }, new WorkerOptions { Clock = clock });
        await ToyFloor.Until(() => floor.Queue.DepthAsync(floor.Lane, CancellationToken.None).Result.Leased == 8);
        var reports = new List<ReceivedReport>();
        await ToyFloor.Until(() =>
        {
            clock.Advance(TimeSpan.FromSeconds(10));
            reports.AddRange(floor.Queue.ReceiveAsync(8, TimeSpan.Zero, CancellationToken.None).AsTask().Result);
            return reports.Count == 8;
        });
        Assert.Equal(4, reports.Count(report => report.Outcome is FailedOutcome));
        Assert.Equal(4, reports.Count(report => report.Outcome is ReturnedOutcome));
        LaneDepth depth = await floor.Queue.DepthAsync(floor.Lane, CancellationToken.None);
        Assert.Equal((4L, 0L), (depth.WaitingDenoise, depth.Leased));
        release.Set();
        Assert.All(await floor.ReceiveAsync(4), report => Assert.IsNotType<ReturnedOutcome>(report.Outcome));
    }

    [Fact]
    public async Task A_prompt_whose_encoder_hangs_is_made_by_another_slot()
    {
        using var release = new ManualResetEventSlim();
        var clock = new ManualClock();
        await using var floor = new ToyFloor();
        int calls = 0;
        var model = new ToyModel
        {
            HoldEncode = _ =>
            {
                if (Interlocked.Increment(ref calls) == 1)
                {
                    release.Wait();
                }
            },
        };
        floor.Start(model, new WorkerOptions { Slots = 2, Clock = clock });
        await floor.FeedAsync([ToyFloor.Prompt("a")]);
        ReceivedReport report = await NextAsync();
        Assert.Contains("gave no sign of progress for 0:30:00 and did not stop", Assert.IsType<FailedOutcome>(report.Outcome).Reason, StringComparison.Ordinal);
        await floor.FeedAsync([report.Item]);
        Assert.Equal(new EncodedOutcome(WasMade: true), (await NextAsync()).Outcome);
        release.Set();

        async Task<ReceivedReport> NextAsync()
        {
            IReadOnlyList<ReceivedReport> reports = [];
            await ToyFloor.Until(() =>
            {
                clock.Advance(TimeSpan.FromSeconds(10));
                return (reports = floor.Queue.ReceiveAsync(8, TimeSpan.Zero, CancellationToken.None).AsTask().Result).Count > 0;
            });
            return Assert.Single(reports);
        }
    }

    [Fact]
    public async Task A_prompts_time_limit_holds_for_its_batch_which_holds_none_with_another()
    {
        await using var floor = new ToyFloor();
        floor.Start(new ToyModel { HoldEncode = stop => stop.WaitHandle.WaitOne() });
        TimeSpan[] limits = [TimeSpan.FromMilliseconds(30), TimeSpan.FromMilliseconds(40)];
        await floor.FeedAsync([.. limits.SelectMany(limit => Enumerable.Range(0, 3).Select(i => ToyFloor.Prompt($"{limit} {i}") with { Timeout = limit }))]);
        foreach (ReceivedReport report in await floor.ReceiveAsync(6))
        {
            Assert.Equal($"the encode batch took longer than {report.Item.Timeout:g}", Assert.IsType<FailedOutcome>(report.Outcome).Reason);
        }
    }

    [Fact]
    public async Task A_failed_batch_says_how_many_rows_it_had_and_rows_fed_singly_run_singly()
    {
        await using var floor = new ToyFloor();
        floor.Know("a cat");
        DenoiseItem[] items = [.. Enumerable.Range(0, 4).Select(i => ToyFloor.Image("a", i))];
        floor.Start(new ToyModel
        {
            BeforeDenoise = (batch, _) =>
            {
                if (batch.Rows.Any(row => row.Seed == items[2].Seed))
                {
                    throw new InvalidOperationException($"{batch.Rows.Count} rows,\none bad");
                }
            },
        });
        await floor.FeedAsync(items);
        foreach (ReceivedReport report in await floor.ReceiveAsync(4))
        {
            Assert.Equal(new FailedOutcome("InvalidOperationException: 4 rows, one bad", 4), report.Outcome);
        }

        await floor.FeedAsync([.. items.Select(item => item with { RunsSingly = true })]);
        foreach (ReceivedReport report in await floor.ReceiveAsync(4))
        {
            if (report.Item.Id == items[2].Id)
            {
                Assert.Equal(new FailedOutcome("InvalidOperationException: 1 rows, one bad", 1), report.Outcome);
            }
            else
            {
                ToyFloor.AssertSame(ToyFloor.Expected((DenoiseItem)report.Item), report.Outcome);
            }
        }
    }

    [Fact]
    public async Task An_image_whose_condition_no_tier_holds_is_reported_as_missing_it()
    {
        await using var floor = new ToyFloor();
        floor.Know("a cat");
        floor.Start(new ToyModel(), new WorkerOptions { Roles = WorkRoles.Dit });
        await floor.FeedAsync(ToyFloor.Image("a", 0, "unknown"));
        var missing = Assert.IsType<MissingConditionOutcome>(Assert.Single(await floor.ReceiveAsync(1)).Outcome);
        Assert.Equal(ToyFloor.Prompt("unknown").Key, missing.Key);
    }

    [Fact]
    public async Task A_worker_of_another_model_revision_is_refused_with_both_revisions()
    {
        await using var floor = new ToyFloor();
        await floor.Registry.RequireModelAsync("toy-2", "toy-2", CancellationToken.None);
        WorkerHost host = floor.Start(new ToyModel());
        var refusal = await Assert.ThrowsAsync<ModelMismatchException>(() => floor.EndOf(host));
        Assert.Contains("toy-1", refusal.Message, StringComparison.Ordinal);
        Assert.Contains("toy-2", refusal.Message, StringComparison.Ordinal);
    }
}
