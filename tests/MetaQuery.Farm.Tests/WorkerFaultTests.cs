using System.Collections.Concurrent;
using MetaQuery.Farm.Tests.Doubles;

namespace MetaQuery.Farm.Tests;

public sealed class WorkerFaultTests
{
    [Fact]
    public async Task A_stalled_workers_late_report_is_refused_and_the_bytes_are_right()
    {
        var clock = new ManualClock();
        await using var floor = new ToyFloor(clock);
        floor.Know("a cat");
        using var running = new SemaphoreSlim(0);
        using var release = new ManualResetEventSlim();
        DenoiseItem item = ToyFloor.Image("a", 0);
        await floor.FeedAsync(item);
        var queue = new TroubledQueue(floor.Queue);
        // a process that is stopped renews nothing: this one's heartbeats are a day apart
        WorkerHost stalled = floor.Start(
            new ToyModel
            {
                BeforeDenoise = (_, _) =>
                {
                    running.Release();
                    release.Wait(ToyFloor.Limit);
                },
            },
            new WorkerOptions { LeaseTime = TimeSpan.FromDays(3) }, queue);
        Assert.True(await running.WaitAsync(ToyFloor.Limit));
        queue.IsCut = true;
        await ToyFloor.Until(() => queue.Refusals > 0);
        clock.Advance(TimeSpan.FromSeconds(31));
        WorkItem reclaimed = Assert.Single(await floor.Queue.ReclaimAsync(CancellationToken.None));
        await floor.FeedAsync(reclaimed with { Attempt = 1 });
        WorkerHost other = floor.Start(new ToyModel());
        ReceivedReport report = Assert.Single(await floor.ReceiveAsync(1));
        Assert.Equal(other.Info.Id, report.Worker);
        ToyFloor.AssertSame(ToyFloor.Expected(item), report.Outcome);
        queue.IsCut = false;
        release.Set();
        await ToyFloor.Until(() => stalled.Counters.RefusedReports == 1);
        Assert.Equal(1, stalled.Status.RefusedReports);
        Assert.Empty(await floor.Queue.ReceiveAsync(10, TimeSpan.Zero, CancellationToken.None));
    }

    [Fact]
    public async Task A_batch_that_only_waited_for_the_other_half_is_given_back_and_not_held_against_its_items()
    {
        await using var floor = new ToyFloor();
        floor.Know("a cat");
        await floor.FeedAsync(ToyFloor.Image("a", 0));
        WorkerHost host = floor.Start(
            new ToyModel
            {
                BeforeDenoise = (_, stop) =>
                {
                    stop.WaitHandle.WaitOne();
                    throw new HalfBusyException(stop);
                },
            },
            new WorkerOptions { StallLimit = TimeSpan.FromMilliseconds(50) });
        Assert.IsType<ReturnedOutcome>(Assert.Single(await floor.ReceiveAsync(1)).Outcome);
        Assert.Equal(0, host.Counters.FailedBatches);
    }

    [Fact]
    public async Task Work_whose_leases_are_lost_is_abandoned_at_the_next_heartbeat()
    {
        await using var floor = new ToyFloor();
        floor.Know("a cat");
        var queue = new TroubledQueue(floor.Queue);
        using var running = new SemaphoreSlim(0);
        await floor.FeedAsync([.. Enumerable.Range(0, 4).Select(i => ToyFloor.Image("a", i))]);
        WorkerHost host = floor.Start(
            new ToyModel
            {
                BeforeDenoise = (_, stop) =>
                {
                    running.Release();
                    stop.WaitHandle.WaitOne();
                },
            },
            new WorkerOptions { LeaseTime = TimeSpan.FromMilliseconds(60) }, queue);
        Assert.True(await running.WaitAsync(ToyFloor.Limit));
        queue.LosesLeases = true;
        await ToyFloor.Until(() => host.Counters.CancelledBatches == 1);
        Assert.Equal(4, host.Counters.LostLeases);
        Assert.Equal(0, host.Counters.FailedBatches);
    }

    [Fact]
    public async Task A_lost_connection_is_waited_out_and_what_was_finished_meanwhile_is_reported()
    {
        await using var floor = new ToyFloor();
        floor.Know("a cat");
        var queue = new TroubledQueue(floor.Queue);
        using var running = new SemaphoreSlim(0);
        using var release = new ManualResetEventSlim();
        DenoiseItem[] items = [.. Enumerable.Range(0, 12).Select(i => ToyFloor.Image("a", i))];
        await floor.FeedAsync(items);
        WorkerHost host = floor.Start(
            new ToyModel
            {
                BeforeDenoise = (_, stop) =>
                {
                    running.Release();
                    release.Wait(stop);
                },
            },
            new WorkerOptions { LeaseTime = TimeSpan.FromMilliseconds(300) }, queue);
        Assert.True(await running.WaitAsync(ToyFloor.Limit));
        await ToyFloor.Until(() => floor.Queue.DepthAsync(floor.Lane, CancellationToken.None).Result.Leased == 8);
        queue.IsCut = true;
        release.Set();
        await ToyFloor.Until(() => host.Counters.Images == 8 && queue.Refusals >= 10);
        Assert.Empty(await floor.Queue.ReceiveAsync(10, TimeSpan.Zero, CancellationToken.None));
        queue.IsCut = false;
        foreach (ReceivedReport report in await floor.ReceiveAsync(12))
        {
            ToyFloor.AssertSame(ToyFloor.Expected((DenoiseItem)report.Item), report.Outcome);
        }

        Assert.Equal(0, host.Counters.RefusedReports);
    }

    [Fact]
    public async Task A_worker_that_cannot_hand_on_what_it_made_takes_a_few_batches_and_no_more_until_it_can()
    {
        await using var floor = new ToyFloor();
        floor.Know("a cat");
        var queue = new TroubledQueue(floor.Queue) { HasFullInbox = true };
        await floor.FeedAsync([.. Enumerable.Range(0, 1000).Select(i => ToyFloor.Image("a", i))]);
        WorkerHost host = floor.Start(new ToyModel(), new WorkerOptions { LeaseTime = TimeSpan.FromMilliseconds(300) }, queue);
        // between two tries there are 50 ms: without a limit, hundreds of images are made until the twentieth
        await ToyFloor.Until(() => host.Counters.Images >= 8 && queue.Refusals >= 20);
        // batches of four: two with outcomes, three that become files, one in the slot, one ahead
        Assert.InRange((await floor.Queue.DepthAsync(floor.Lane, CancellationToken.None)).Leased, 8, 28);
        Assert.Equal("what it made cannot be handed on: StorageException: inbox: no space left", host.Status.Trouble);
        queue.HasFullInbox = false;
        List<ReceivedReport> reports = await floor.ReceiveAsync(1000);
        Assert.All(reports, report => Assert.IsType<DenoisedOutcome>(report.Outcome));
        Assert.Equal(1000, reports.Select(report => report.Item.Id).Distinct().Count());
        await ToyFloor.Until(() => host.Status.Trouble is null);
        Assert.Equal((1000, 0), (host.Counters.Images, host.Counters.RefusedReports));
    }

    [Fact]
    public async Task A_report_whose_answer_is_lost_counts_once()
    {
        await using var floor = new ToyFloor();
        floor.Know("a cat");
        var queue = new TroubledQueue(floor.Queue) { LosesAnswers = true };
        await floor.FeedAsync([.. Enumerable.Range(0, 4).Select(i => ToyFloor.Image("a", i))]);
        WorkerHost host = floor.Start(new ToyModel(), queue: queue);
        await floor.ReceiveAsync(4);
        host.Drain();
        await floor.EndOf(host);
        Assert.Empty(await floor.Queue.ReceiveAsync(10, TimeSpan.Zero, CancellationToken.None));
        Assert.InRange(host.Counters.RefusedReports + host.Counters.LostLeases, 1, 4); // a heartbeat between the two tries finds the leases gone
    }

    [Fact]
    public async Task An_item_that_runs_alone_is_made_while_the_process_holds_nothing_else()
    {
        await using var floor = new ToyFloor();
        floor.Know("a cat");
        DenoiseItem alone = ToyFloor.Image("alone", 0) with { RunsAlone = true };
        var leasedBeside = new ConcurrentQueue<long>();
        using var running = new SemaphoreSlim(0);
        using var release = new ManualResetEventSlim();
        await floor.FeedAsync([.. Enumerable.Range(0, 40).Select(i => ToyFloor.Image("a", i))]);
        floor.Start(
            new ToyModel
            {
                BeforeDenoise = (batch, stop) =>
                {
                    running.Release();
                    release.Wait(stop);
                    if (batch.Rows.Any(row => row.Seed == alone.Seed))
                    {
                        leasedBeside.Enqueue(floor.Queue.DepthAsync(floor.Lane, CancellationToken.None).Result.Leased);
                    }
                },
            },
            new WorkerOptions { Slots = 2, AloneEvery = TimeSpan.FromMilliseconds(5), LeaseWait = TimeSpan.FromMilliseconds(10) });
        Assert.True(await running.WaitAsync(ToyFloor.Limit));
        await floor.FeedAsync(alone);
        release.Set();
        List<ReceivedReport> reports = await floor.ReceiveAsync(41);
        ToyFloor.AssertSame(ToyFloor.Expected(alone), reports.Single(report => report.Item.Id == alone.Id).Outcome);
        Assert.Equal([1], leasedBeside);
        Assert.All(reports, report => Assert.IsType<DenoisedOutcome>(report.Outcome));
    }

    [Fact]
    public async Task Conditions_are_made_exactly_once_whatever_the_number_of_workers_and_however_often_they_are_fed()
    {
        await using var floor = new ToyFloor();
        var shared = new SharedTier();
        string[] captions = [.. Enumerable.Range(0, 50).Select(i => $"prompt {i}"), ""];
        ToyModel[] models = [.. Enumerable.Range(0, 4).Select(_ => new ToyModel { BeforeEncode = _ => Thread.Yield() })];
        foreach (ToyModel model in models)
        {
            floor.Start(
                model, new WorkerOptions { Roles = WorkRoles.Mllm, Slots = 2, EncodeBatchSize = 3 },
                cache: new ConditionCache(memoryBudgetBytes: 200, [shared], shared));
        }

        await floor.FeedAsync([.. captions.Concat(captions.Reverse()).Concat(captions).Select(ToyFloor.Prompt)]);
        List<ReceivedReport> reports = await floor.ReceiveAsync(3 * captions.Length);
        Assert.Equal(captions.Length, models.Sum(model => model.TotalPasses));
        Assert.Equal(captions.Length, reports.Count(report => Assert.IsType<EncodedOutcome>(report.Outcome).WasMade));
        Assert.All(captions, caption => Assert.NotNull(shared.TryRead(ToyFloor.Prompt(caption).Key, out _)));
    }

    [Fact]
    public async Task A_condition_that_only_this_process_still_has_is_put_where_others_find_it_not_made_again()
    {
        await using var floor = new ToyFloor();
        var shared = new SharedTier();
        var model = new ToyModel();
        floor.Start(model, new WorkerOptions { Roles = WorkRoles.Mllm }, cache: new ConditionCache(1 << 20, [shared], shared));
        EncodeItem item = ToyFloor.Prompt("a cat");
        await floor.FeedAsync(item);
        await floor.ReceiveAsync(1);
        shared.Evict(item.Key);
        await floor.FeedAsync(item);
        Assert.Equal(new EncodedOutcome(WasMade: false), Assert.Single(await floor.ReceiveAsync(1)).Outcome);
        Assert.NotNull(shared.TryRead(item.Key, out _));
        Assert.Equal(1, model.TotalPasses);
    }

    [Fact]
    public async Task A_tier_that_cannot_be_reached_is_waited_for_and_no_pass_is_lost()
    {
        await using var floor = new ToyFloor();
        int failures = 6;
        var shared = new SharedTier();
        var model = new ToyModel();
        // the tier fails as soon as something was encoded: while it is kept, and when it is looked up
        shared.Before = () =>
        {
            if (model.TotalPasses > 0 && Interlocked.Decrement(ref failures) >= 0)
            {
                throw new WorkQueueException("the tier cannot be reached");
            }
        };
        floor.Start(model, new WorkerOptions { LeaseTime = TimeSpan.FromMilliseconds(300) }, cache: new ConditionCache(0, [shared], shared));
        await floor.FeedAsync(ToyFloor.Prompt("a cat"), ToyFloor.Prompt(""));
        await floor.ReceiveAsync(2);
        Interlocked.Exchange(ref failures, 3);
        await floor.FeedAsync(ToyFloor.Image("a", 0));
        ToyFloor.AssertSame(ToyFloor.Expected(ToyFloor.Image("a", 0)), Assert.Single(await floor.ReceiveAsync(1)).Outcome);
        Assert.Equal(2, model.TotalPasses);
    }

    [Fact]
    public async Task Workers_of_one_role_each_give_the_bytes_of_a_worker_of_both()
    {
        await using var floor = new ToyFloor();
        var shared = new SharedTier();
        var (text, image) = (new ToyModel(), new ToyModel());
        floor.Start(text, new WorkerOptions { Roles = WorkRoles.Mllm }, cache: new ConditionCache(1 << 20, [shared], shared));
        floor.Start(image, new WorkerOptions { Roles = WorkRoles.Dit }, cache: new ConditionCache(1 << 20, [shared], shared));
        await floor.FeedAsync(ToyFloor.Prompt("a cat"), ToyFloor.Prompt(""));
        await floor.ReceiveAsync(2);
        await floor.FeedAsync([.. Enumerable.Range(0, 6).Select(i => ToyFloor.Image("a", i))]);
        Assert.All(await floor.ReceiveAsync(6), report => ToyFloor.AssertSame(ToyFloor.Expected((DenoiseItem)report.Item), report.Outcome));
        Assert.Equal((2, 0), (text.TotalPasses, image.TotalPasses));
        Assert.Equal((0, 6), (text.Denoised.Count, image.Denoised.Count));
    }

    [Fact]
    public async Task A_worker_that_the_registry_forgot_joins_again()
    {
        await using var floor = new ToyFloor();
        WorkerHost host = floor.Start(new ToyModel(), new WorkerOptions { LeaseTime = TimeSpan.FromMilliseconds(60) });
        await ToyFloor.Until(() => floor.Registry.ListAsync(CancellationToken.None).Result.Count == 1);
        await floor.Registry.LeaveAsync(host.Info.Id, CancellationToken.None);
        await ToyFloor.Until(() => floor.Registry.ListAsync(CancellationToken.None).Result.Count == 1);
    }

    [Fact]
    public async Task An_error_that_is_nobodys_work_ends_the_worker_which_leaves_and_gives_back_what_waits()
    {
        await using var floor = new ToyFloor();
        floor.Know("a cat");
        using var running = new SemaphoreSlim(0);
        var shared = new SharedTier();
        floor.Know("a cat");
        await floor.FeedAsync([.. Enumerable.Range(0, 8).Select(i => ToyFloor.Image("a", i))]);
        WorkerHost host = floor.Start(
            new ToyModel
            {
                BeforeDenoise = (_, stop) =>
                {
                    running.Release();
                    stop.WaitHandle.WaitOne();
                },
            },
            cache: new ConditionCache(0, [new CopyOf(floor.Cache), shared]));
        Assert.True(await running.WaitAsync(ToyFloor.Limit));
        await ToyFloor.Until(() => floor.Queue.DepthAsync(floor.Lane, CancellationToken.None).Result.Leased == 8);
        shared.Before = () => throw new InvalidDataException("a bug");
        await floor.FeedAsync(ToyFloor.Prompt("a dog"));
        Assert.Equal("a bug", (await Assert.ThrowsAsync<InvalidDataException>(() => floor.EndOf(host))).Message);
        Assert.Empty(await floor.Registry.ListAsync(CancellationToken.None));
        Assert.All(await floor.ReceiveAsync(8), report => Assert.IsType<ReturnedOutcome>(report.Outcome));
    }

    /// <summary>A tier that holds what a cache holds.</summary>
    private sealed class CopyOf(ConditionCache cache) : IConditionTier
    {
        public string Name => "copy";

        public long Bytes => 0;

        public byte[]? TryRead(ConditionKey key, out bool isCorrupt)
        {
            isCorrupt = false;
            return cache.TryFind(key);
        }

        public void Write(ConditionKey key, ReadOnlySpan<byte> condition) => throw new NotSupportedException("only read");
    }
}
