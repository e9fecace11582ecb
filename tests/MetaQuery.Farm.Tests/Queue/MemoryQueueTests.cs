using MetaQuery.Farm.Tests.Doubles;

namespace MetaQuery.Farm.Tests.Queue;

public sealed class MemoryQueueTests : IDisposable
{
    private static readonly TimeSpan LeaseTime = TimeSpan.FromSeconds(30);
    private static readonly LeaseRequest Ask = new("w", "lane", WorkRoles.Dit, 10, TimeSpan.FromSeconds(5));

    private readonly Workspace _work = new();
    private readonly ManualClock _clock = new();

    public void Dispose() => _work.Dispose();

    [Fact]
    public async Task A_worker_that_waits_gets_what_comes_and_nothing_once_its_time_is_over()
    {
        using var queue = new MemoryWorkQueue(LeaseTime, _clock);
        Task<IReadOnlyList<Lease>> waiting = queue.LeaseAsync(Ask, default).AsTask();
        await queue.FeedAsync("other lane", [Items.Denoise("j", 1)], default);
        await queue.FeedAsync("lane", [Items.Encode("another role")], default);
        await queue.FeedAsync("lane", [Items.Denoise("j", 2, alone: true)], default);
        Assert.False(waiting.IsCompleted);
        await queue.FeedAsync("lane", [Items.Denoise("j", 3)], default);
        Assert.Equal("d/j/3", Assert.Single(await waiting).Item.Id);

        waiting = queue.LeaseAsync(Ask, default).AsTask();
        _clock.Advance(TimeSpan.FromSeconds(4));
        Assert.False(waiting.IsCompleted);
        _clock.Advance(TimeSpan.FromSeconds(1));
        Assert.Empty(await waiting);
    }

    [Fact]
    public async Task Who_asks_for_interactive_items_only_gets_no_others()
    {
        using var queue = new MemoryWorkQueue(LeaseTime, _clock);
        Task<IReadOnlyList<Lease>> waiting = queue.LeaseAsync(Ask with { IsInteractiveOnly = true }, default).AsTask();
        await queue.FeedAsync("lane", [Items.Denoise("j", 1)], default);
        Assert.False(waiting.IsCompleted);
        await queue.FeedAsync("lane", [Items.Denoise("j", 2) with { Priority = JobPriority.Interactive }, Items.Denoise("j", 3)], default);
        Assert.Equal("d/j/2", Assert.Single(await waiting).Item.Id);
        Assert.Equal(2, (await queue.LeaseAsync(Ask, default)).Count);
    }

    [Fact]
    public async Task The_head_that_waits_for_reports_is_woken_by_one()
    {
        using var queue = new MemoryWorkQueue(LeaseTime, _clock);
        Task<IReadOnlyList<ReceivedReport>> waiting = queue.ReceiveAsync(10, TimeSpan.FromMinutes(1), default).AsTask();
        await queue.FeedAsync("lane", [Items.Denoise("j", 3)], default);
        Lease lease = Assert.Single(await queue.LeaseAsync(Ask, default));
        Assert.False(waiting.IsCompleted);
        Assert.Equal([true], await queue.ReportAsync("w", [new WorkReport(lease, new ReturnedOutcome())], default));
        ReceivedReport report = Assert.Single(await waiting);
        Assert.Equal(("w", lease.Item, (WorkOutcome)new ReturnedOutcome()), (report.Worker, report.Item, report.Outcome));
    }

    [Fact]
    public async Task Who_is_cancelled_while_waiting_has_leased_nothing()
    {
        using var queue = new MemoryWorkQueue(LeaseTime, _clock);
        using var stop = new CancellationTokenSource();
        Task<IReadOnlyList<Lease>> waiting = queue.LeaseAsync(Ask, stop.Token).AsTask();
        await stop.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => waiting);
        await queue.FeedAsync("lane", [Items.Denoise("j", 1)], default);
        Assert.Single(await queue.LeaseAsync(Ask, default));
    }

    [Fact]
    public async Task Many_workers_at_once_get_every_item_once()
    {
        using var queue = new MemoryWorkQueue(LeaseTime);
        const int Total = 20_000;
        var leased = new System.Collections.Concurrent.ConcurrentBag<string>();
        using var done = new CancellationTokenSource();
        Task[] workers =
        [
            .. Enumerable.Range(0, 8).Select(i => Task.Run(async () =>
            {
                while (!done.IsCancellationRequested)
                {
                    IReadOnlyList<Lease> leases = await queue.LeaseAsync(new LeaseRequest($"w{i}", "lane", WorkRoles.Dit, 7, TimeSpan.FromMilliseconds(50)), default);
                    foreach (Lease lease in leases)
                    {
                        leased.Add(lease.Item.Id);
                    }

                    Assert.DoesNotContain(false, await queue.ReportAsync($"w{i}", [.. leases.Select(lease => new WorkReport(lease, new ReturnedOutcome()))], default));
                }
            })),
        ];
        int reports = 0;
        for (int position = 0; position < Total; position += 100)
        {
            await queue.FeedAsync("lane", [.. Enumerable.Range(position, 100).Select(i => Items.Denoise("j", i))], default);
        }

        while (reports < Total)
        {
            IReadOnlyList<ReceivedReport> some = await queue.ReceiveAsync(1000, TimeSpan.FromSeconds(30), default);
            Assert.NotEmpty(some);
            reports += some.Count;
            await queue.ConfirmAsync(some, default);
        }

        await done.CancelAsync();
        await Task.WhenAll(workers);
        Assert.Equal(Total, reports);
        Assert.Equal(Total, leased.Distinct().Count());
        Assert.Equal(Total, leased.Count);
        Assert.Equal(default, await queue.DepthAsync("lane", default));
    }

    [Fact]
    public async Task The_journal_of_leases_stays_small_and_is_right_after_it_was_compacted()
    {
        string path = _work["leases.log"];
        var queue = new MemoryWorkQueue(LeaseTime, _clock, path);
        await queue.FeedAsync("lane", [Items.Denoise("long", 0)], default);
        await queue.LeaseAsync(Ask, default);
        for (int round = 0; round < 200; round++)
        {
            await queue.FeedAsync("lane", [.. Enumerable.Range(round * 100, 100).Select(i => Items.Denoise("j", i))], default);
            IReadOnlyList<Lease> leases = await queue.LeaseAsync(Ask with { Most = 100 }, default);
            await queue.ReportAsync("w", [.. leases.Select(lease => new WorkReport(lease, new ReturnedOutcome()))], default);
        }

        Assert.InRange(new FileInfo(path).Length, 1, 2 << 20); // 20,000 leases of 200 bytes are 4 MB
        using var next = new MemoryWorkQueue(LeaseTime, _clock, path);
        Assert.Equal(["d/long/0"], (await next.ReclaimAsync(default)).Select(item => item.Id));
        await next.FeedAsync("lane", [Items.Denoise("j", 1)], default);
        Lease lease = Assert.Single(await next.LeaseAsync(Ask, default));
        Assert.Equal([false], await queue.ReportAsync("w", [new WorkReport(lease, new ReturnedOutcome())], default)); // a number is never used twice
    }

    [Theory]
    [InlineData(16)]
    [InlineData(1)]
    public async Task Items_that_are_larger_together_than_a_journals_record_are_leased_and_known_to_the_next_process(int atOnce)
    {
        const int Count = 16;
        DenoiseItem[] items = [.. Enumerable.Range(0, Count).Select(i => Items.WithOtherFields("j", i, 5_000_000))];
        Assert.InRange(FarmJournal.MaxPayloadBytes, 1, items.Sum(item => (long)item.Prompt.OtherFields.Length));
        string path = _work["leases.log"];
        var leases = new List<Lease>();
        using (var queue = new MemoryWorkQueue(LeaseTime, _clock, path))
        {
            await queue.FeedAsync("lane", items, default);
            while (leases.Count < Count)
            {
                IReadOnlyList<Lease> some = await queue.LeaseAsync(Ask with { Most = atOnce }, default);
                Assert.Equal(atOnce, some.Count);
                leases.AddRange(some);
            }

            Assert.Equal([true], await queue.ReportAsync("w", [new WorkReport(leases[0], new ReturnedOutcome())], default)); // compacts first: the file is large
        }

        using var next = new MemoryWorkQueue(LeaseTime, _clock, path);
        Assert.Equal(leases.Skip(1).Select(lease => lease.Item.Id), (await next.ReclaimAsync(default)).Select(item => item.Id));
    }

    [Fact]
    public async Task Items_that_no_journal_takes_wait_on_and_are_not_lost()
    {
        using var queue = new MemoryWorkQueue(LeaseTime, _clock, _work["leases.log"]);
        await queue.FeedAsync("lane", [Items.WithOtherFields("j", 0, FarmJournal.MaxPayloadBytes)], default);
        await Assert.ThrowsAsync<ArgumentOutOfRangeException>(async () => await queue.LeaseAsync(Ask, default));
        Assert.Equal(1, (await queue.DepthAsync("lane", default)).WaitingDenoise);
    }

    [Fact]
    public async Task A_full_disk_under_the_journal_is_an_error_that_can_be_tried_again_and_loses_nothing()
    {
        using SmallDisk? disk = SmallDisk.TryMount(_work["small"], 64, out string? why);
        if (disk is null)
        {
            Console.WriteLine($"not covered here: {why}");
            return;
        }

        using var queue = new MemoryWorkQueue(LeaseTime, _clock, Path.Combine(_work["small"], "leases.log"));
        await queue.FeedAsync("lane", [.. Enumerable.Range(0, 2000).Select(i => Items.Denoise("j", i))], default);
        var leases = new List<Lease>();
        WorkQueueException full = await Assert.ThrowsAsync<WorkQueueException>(async () =>
        {
            while (true)
            {
                leases.AddRange(await queue.LeaseAsync(Ask, default));
            }
        });
        Assert.True(full.IsTransient);
        Assert.Contains("full", full.Message, StringComparison.Ordinal);
        disk.Grow(4096);
        leases.AddRange(await queue.LeaseAsync(Ask with { Most = 2000 }, default));
        Assert.Equal(Enumerable.Range(0, 2000).Select(i => $"d/j/{i}"), leases.Select(lease => lease.Item.Id));
        Assert.DoesNotContain(false, await queue.ReportAsync("w", [.. leases.Select(lease => new WorkReport(lease, new ReturnedOutcome()))], default));
    }
}
