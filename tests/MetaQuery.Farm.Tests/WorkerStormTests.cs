using MetaQuery.Farm.Tests.Doubles;

namespace MetaQuery.Farm.Tests;

/// <summary>Workers under everything at once: cut connections, lost answers, silence beyond the lease, drains, errors; the faults follow a seed.</summary>
public sealed class WorkerStormTests
{
    private const int Images = 300;
    private static readonly string[] Captions = [.. Enumerable.Range(0, 20).Select(i => $"prompt {i}"), ""];

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public async Task Every_item_is_settled_once_with_the_right_bytes(int seed)
    {
        var random = new Random(seed);
        var clock = new ManualClock();
        await using var floor = new ToyFloor(clock);
        var shared = new SharedTier();
        int calls = 0;
        var model = new ToyModel
        {
            BeforeDenoise = (batch, _) =>
            {
                Thread.Sleep(2);
                if (Interlocked.Increment(ref calls) % 11 == 0 && batch.Rows.Count > 1)
                {
                    throw new InvalidOperationException("a batch fails now and then");
                }
            },
        };
        var workers = new List<(WorkerHost Host, TroubledQueue Queue)>();
        var queues = new List<TroubledQueue>();
        var done = new Dictionary<string, WorkOutcome>(StringComparer.Ordinal);
        var missing = new List<WorkItem>();
        DenoiseItem[] items = [.. Enumerable.Range(0, Images).Select(i => ToyFloor.Image($"job {i % 3}", i, Captions[i % 20], steps: 4 + (i % 2)))];
        await floor.FeedAsync([.. Captions.Select(ToyFloor.Prompt), .. items]); // images before their conditions: they are missing at first
        long start = TimeProvider.System.GetTimestamp();
        for (int round = 0; done.Count < Images + Captions.Length; round++)
        {
            Assert.True(TimeProvider.System.GetElapsedTime(start) < ToyFloor.Limit, $"{done.Count} items are settled within {ToyFloor.Limit}");
            Trouble(random.Next(8));
            foreach (ReceivedReport report in await floor.Queue.ReceiveAsync(6, TimeSpan.Zero, default))
            {
                await SettleAsync(report);
            }

            await floor.FeedAsync([.. (await floor.Queue.ReclaimAsync(default)).Select(item => item with { Attempt = item.Attempt + 1 })]);
            await Task.Delay(1);
        }

        workers.ForEach(worker => worker.Queue.IsCut = false);
        foreach (DenoiseItem item in items)
        {
            ToyFloor.AssertSame(ToyFloor.Expected(item), done[item.Id]);
        }

        workers.ForEach(worker => worker.Host.Drain());
        await Task.WhenAll(workers.Select(worker => floor.EndOf(worker.Host)));
        Assert.Equal(new LaneDepth(0, 0, 0, 0), await floor.Queue.DepthAsync(floor.Lane, default));
        Assert.Empty(await floor.Registry.ListAsync(default));
        Assert.True(queues.Sum(queue => queue.Refusals) > 0, "no connection was cut while anybody used it");

        void Trouble(int kind)
        {
            if (workers.Count < 3)
            {
                var queue = new TroubledQueue(floor.Queue);
                queues.Add(queue);
                var options = new WorkerOptions { Slots = 2, LeaseTime = TimeSpan.FromMilliseconds(120), LeaseWait = TimeSpan.FromMilliseconds(5) };
                workers.Add((floor.Start(model, options, queue, new ConditionCache(400, [shared], shared)), queue));
                return;
            }

            int which = random.Next(workers.Count);
            (WorkerHost host, TroubledQueue troubled) = workers[which];
            switch (kind)
            {
                case 0:
                    troubled.IsCut = true;
                    break;
                case 1 or 2 or 3:
                    troubled.IsCut = false;
                    break;
                case 4:
                    troubled.LosesAnswers = true;
                    break;
                case 5 when random.Next(4) == 0:
                    clock.Advance(TimeSpan.FromSeconds(31)); // what was not renewed just now is taken back
                    break;
                case 6 when random.Next(8) == 0:
                    troubled.IsCut = false;
                    host.Drain();
                    workers.RemoveAt(which);
                    break;
                default:
                    break;
            }
        }

        async Task SettleAsync(ReceivedReport report)
        {
            switch (report.Outcome)
            {
                case DenoisedOutcome or EncodedOutcome:
                    // what is fed again after a reclaim can be made twice only if the fence failed
                    Assert.True(done.TryAdd(report.Item.Id, report.Outcome), $"{report.Item.Id} is settled twice");
                    break;
                case MissingConditionOutcome:
                    missing.Add(report.Item);
                    break;
                case FailedOutcome failed:
                    Assert.True(failed.BatchRows > 1, failed.Reason);
                    await floor.FeedAsync(report.Item with { RunsSingly = true });
                    break;
                default:
                    await floor.FeedAsync(report.Item with { Attempt = report.Item.Attempt + 1 });
                    break;
            }

            if (missing.Count > 0 && Captions.All(caption => done.ContainsKey(ToyFloor.Prompt(caption).Id)))
            {
                await floor.FeedAsync([.. missing]);
                missing.Clear();
            }

            await floor.Queue.ConfirmAsync([report], default);
        }
    }
}
