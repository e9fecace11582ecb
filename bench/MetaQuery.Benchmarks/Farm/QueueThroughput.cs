using System.Diagnostics;
using MetaQuery.Data;
using MetaQuery.Farm;
using MetaQuery.Imaging;

namespace MetaQuery.Benchmarks.Farm;

/// <summary>Items through a queue: fed, leased, reported, received, confirmed, and nothing computed.</summary>
/// <param name="Tasks">Items in all.</param>
/// <param name="Workers">Workers that lease and report at once.</param>
/// <param name="Batch">Items of one lease, and reports of one call.</param>
/// <param name="Depth">Items that wait at most: a head feeds a few seconds deep.</param>
internal sealed record QueueThroughput(int Tasks, int Workers = 2, int Batch = 32, int Depth = 4096)
{
    private const string Lane = "bench";

    /// <summary>Runs all items through.</summary>
    /// <param name="outcome">What the workers report.</param>
    /// <returns>Items a second, from the first feed to the last confirmation.</returns>
    public async Task<double> MeasureAsync(IWorkQueue queue, IWorkFeed feed, Func<WorkItem, WorkOutcome> outcome)
    {
        WorkItem[] items = [.. Enumerable.Range(0, Tasks).Select(Item)];
        using var done = new CancellationTokenSource();
        var clock = Stopwatch.StartNew();
        Task[] workers = [.. Enumerable.Range(0, Workers).Select(i => Task.Run(() => WorkAsync($"worker-{i}", queue, outcome, done.Token)))];
        var fed = 0;
        var confirmed = 0;
        while (confirmed < Tasks)
        {
            var room = Math.Min(Tasks - fed, Depth - (fed - confirmed));
            if (room >= Math.Min(Batch * Workers, Tasks - fed) && room > 0)
            {
                await feed.FeedAsync(Lane, new ArraySegment<WorkItem>(items, fed, room), CancellationToken.None);
                fed += room;
            }

            var reports = await feed.ReceiveAsync(Depth, TimeSpan.FromSeconds(30), CancellationToken.None);
            if (reports.Count == 0)
            {
                throw new BenchmarkException($"no report came for 30 s, after {confirmed} of {Tasks}");
            }

            await feed.ConfirmAsync(reports, CancellationToken.None);
            confirmed += reports.Count;
        }

        var seconds = clock.Elapsed.TotalSeconds;
        await done.CancelAsync();
        await Task.WhenAll(workers);
        return Tasks / seconds;
    }

    private async Task WorkAsync(string worker, IWorkQueue queue, Func<WorkItem, WorkOutcome> outcome, CancellationToken done)
    {
        var request = new LeaseRequest(worker, Lane, WorkRoles.Dit, Batch, TimeSpan.FromMilliseconds(200));
        while (!done.IsCancellationRequested)
        {
            var leases = await queue.LeaseAsync(request, CancellationToken.None);
            if (leases.Count == 0)
            {
                continue;
            }

            var taken = await queue.ReportAsync(worker, [.. leases.Select(lease => new WorkReport(lease, outcome(lease.Item)))], CancellationToken.None);
            if (taken.Contains(false))
            {
                throw new BenchmarkException("a report was refused");
            }
        }
    }

    private static readonly ConditionKey Condition = ConditionKey.Create(
        new ConditionIdentity("bench", "", "", "", 16, "bfloat16", "", 10_240), new ConditionRequest("a photograph of a lighthouse at dusk, long exposure"));

    private static WorkItem Item(int position) => new DenoiseItem(
        "job_bench", position, $"{position:d9}",
        new PromptLine { Line = position + 1, Index = position, Prompt = "a photograph of a lighthouse at dusk, long exposure" },
        new LineSettings(20, 4.5f, ""), 0, (ulong)position, Condition, Condition, new ImageSize(256, 256), 32, ImageFormat.Png, 95);
}
