using System.Collections.Concurrent;
using System.Text;
using MetaQuery.Imaging;

namespace MetaQuery.Farm.Tests.Doubles;

/// <summary>A worker without a cache, threads or batches: takes one item after the other and tells at once what came of it.</summary>
internal sealed class ToyWorker : IAsyncDisposable
{
    private readonly CancellationTokenSource _stop = new(); // has no timer: nothing to dispose of
    private readonly IWorkQueue _queue;
    private readonly IWorkerRegistry _registry;
    private readonly Task _loop;
    private readonly ConcurrentDictionary<ConditionKey, bool> _cache;

    public ToyWorker(ToyModel model, IWorkQueue queue, IWorkerRegistry registry, ConcurrentDictionary<ConditionKey, bool>? cache = null, WorkRoles roles = WorkRoles.Both)
    {
        (_queue, _registry, _cache) = (queue, registry, cache ?? new());
        (ConditionIdentity conditions, ImageModelInfo images) = model.Description;
        Info = new WorkerInfo($"toy-{Guid.NewGuid():n}", "here", 1, roles, 1, "cpu", model.Description.Lane, conditions, images, DateTimeOffset.UtcNow);
        _loop = Task.Run(RunAsync);
    }

    public WorkerInfo Info { get; }

    /// <summary>What comes of an item; null for the ordinary outcome.</summary>
    public Func<WorkItem, WorkOutcome?> Outcome { get; set; } = _ => null;

    /// <summary>While false it holds what it leased.</summary>
    public bool Reports { get; set; } = true;

    /// <summary>Images after which it takes no more.</summary>
    public int MostImages { get; set; } = int.MaxValue;

    public ConcurrentQueue<WorkItem> Seen { get; } = new();

    public int Encoded => Seen.Count(item => item is EncodeItem);

    /// <summary>The picture's bytes: a function of the item alone.</summary>
    public static FinishedSample SampleOf(DenoiseItem item)
    {
        var pixels = new byte[item.Size.WidthPixels * item.Size.HeightPixels * 3];
        new Random((int)item.Seed).NextBytes(pixels);
        byte[] image = ImageEncoder.Encode(new RgbImage(item.Size.WidthPixels, item.Size.HeightPixels, pixels), item.Format, item.Quality, []);
        return new FinishedSample(
            item.Position, image, Encoding.UTF8.GetBytes(item.Prompt.Prompt), Encoding.UTF8.GetBytes($$"""{"key":"{{item.SampleKey}}","sample_index":{{item.SampleIndex}}}"""));
    }

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        await _loop;
    }

    private async Task RunAsync()
    {
        await _registry.JoinAsync(Info, CancellationToken.None);
        try
        {
            while (true)
            {
                try
                {
                    await TakeTurnAsync();
                }
                catch (WorkQueueException)
                {
                    await Task.Delay(5, _stop.Token); // a disk that is full, for one: nothing was leased
                }
            }
        }
        catch (OperationCanceledException)
        {
            await _registry.LeaveAsync(Info.Id, CancellationToken.None);
        }
    }

    private async Task TakeTurnAsync()
    {
        await _registry.HeartbeatAsync(Info.Id, new WorkerStatus(WorkerState.Running, [], 0, 0, 0, 0, 0, new ConditionCacheCounters(0, 0, 0, 0, 0, 0, 0, 0)), _stop.Token);
        if (await _queue.LeaseAloneAsync(Info.Id, Info.Lane, Info.Roles, _stop.Token) is { } alone)
        {
            await DoAsync([alone]);
        }

        if (Info.Roles.HasFlag(WorkRoles.Mllm))
        {
            await DoAsync(await _queue.LeaseAsync(new LeaseRequest(Info.Id, Info.Lane, WorkRoles.Mllm, 8, TimeSpan.Zero), _stop.Token));
        }

        if (Info.Roles.HasFlag(WorkRoles.Dit) && Math.Min(8, MostImages - Seen.OfType<DenoiseItem>().Count()) is > 0 and var most)
        {
            await DoAsync(await _queue.LeaseAsync(new LeaseRequest(Info.Id, Info.Lane, WorkRoles.Dit, most, TimeSpan.FromMilliseconds(10)), _stop.Token));
        }
        else
        {
            await Task.Delay(5, _stop.Token);
        }
    }

    private async Task DoAsync(IReadOnlyList<Lease> leases)
    {
        var reports = new List<WorkReport>();
        foreach (Lease lease in leases)
        {
            Seen.Enqueue(lease.Item);
            reports.Add(new WorkReport(lease, Outcome(lease.Item) ?? Ordinary(lease.Item)));
        }

        while (!Reports)
        {
            await Task.Delay(5, _stop.Token);
        }

        while (true)
        {
            try
            {
                await _queue.ReportAsync(Info.Id, reports, CancellationToken.None);
                return;
            }
            catch (WorkQueueException)
            {
                await Task.Delay(5, _stop.Token);
            }
        }
    }

    private WorkOutcome Ordinary(WorkItem item)
    {
        switch (item)
        {
            case EncodeItem encode:
                return new EncodedOutcome(_cache.TryAdd(encode.Key, true));
            case DenoiseItem image when !_cache.ContainsKey(image.Condition):
                return new MissingConditionOutcome(image.Condition);
            case DenoiseItem image when image.Negative is { } negative && !_cache.ContainsKey(negative):
                return new MissingConditionOutcome(negative);
            default:
                return new DenoisedOutcome(SampleOf((DenoiseItem)item));
        }
    }
}
