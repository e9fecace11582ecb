using MetaQuery.Data;
using MetaQuery.Imaging;

namespace MetaQuery.Farm.Tests.Doubles;

/// <summary>A queue with workers over toy models, and the test in the place of the head.</summary>
internal sealed class ToyFloor : IAsyncDisposable
{
    public static readonly TimeSpan Limit = TimeSpan.FromSeconds(120);

    private readonly List<(WorkerHost Host, Task Run, CancellationTokenSource Stop)> _workers = [];

    public ToyFloor(TimeProvider? queueClock = null)
    {
        Queue = new MemoryWorkQueue(TimeSpan.FromSeconds(30), queueClock);
        Lane = new ToyModel().Description.Lane;
    }

    public MemoryWorkQueue Queue { get; }

    public MemoryWorkerRegistry Registry { get; } = new(TimeSpan.FromSeconds(30));

    public ConditionCache Cache { get; } = new(1 << 20, []);

    public string Lane { get; }

    public static EncodeItem Prompt(string caption) =>
        new(ConditionKey.Create(new ToyModel().Description.Conditions, new ConditionRequest(caption)), new ConditionRequest(caption), KeepOnDisk: false);

    public static DenoiseItem Image(string job, long position, string caption = "a cat", int steps = 4, int batchSize = 4) => new(
        job, position, $"{position:d9}", new PromptLine { Line = 1, Index = position, Prompt = caption }, new LineSettings(steps, 4.5f, ""), 0,
        ImageSeed.ForPrompt((ulong)job.Sum(letter => (long)letter), position, 0), Prompt(caption).Key, Prompt("").Key, new ImageSize(8, 8), batchSize,
        ImageFormat.Png, 100);

    /// <summary>What the item's sample must be, made without a farm.</summary>
    public static FinishedSample Expected(DenoiseItem item)
    {
        var model = new ToyModel();
        IReadOnlyList<byte[]> conditions = model.CreateEncoder().Encode([new ConditionRequest(item.Prompt.Prompt), new ConditionRequest("")], null, CancellationToken.None);
        RgbImage picture = model.CreateDenoiser().Denoise(
            new DenoiseBatch(8, 8, item.Settings.NumInferenceSteps, item.BatchSize, [new DenoiseRow(conditions[0], conditions[1], 4.5f, item.Seed)]),
            null, CancellationToken.None)[0];
        (byte[] image, byte[] caption, byte[] json) = new SampleMaker(model.Description.Images).Make(item, picture);
        return new FinishedSample(item.Position, image, caption, json);
    }

    public WorkerHost Start(ToyModel model, WorkerOptions? options = null, IWorkQueue? queue = null, ConditionCache? cache = null)
    {
        var host = new WorkerHost(model, queue ?? Queue, Registry, cache ?? Cache, options ?? new WorkerOptions());
        var stop = new CancellationTokenSource();
        _workers.Add((host, host.RunAsync(stop.Token), stop));
        return host;
    }

    public Task EndOf(WorkerHost host) => _workers.Single(worker => worker.Host == host).Run.WaitAsync(Limit);

    /// <summary>Puts conditions where the workers find them.</summary>
    public void Know(params string[] captions) => Cache.GetOrEncode(
        [.. captions.Append("").Select(Prompt).Select(item => new ConditionLookup(item.Key, item.Request, false))],
        (requests, _) => new ToyModel().CreateEncoder().Encode(requests, null, CancellationToken.None), CancellationToken.None);

    public async Task FeedAsync(params WorkItem[] items) => await Queue.FeedAsync(Lane, items, CancellationToken.None);

    /// <summary>The next so many reports.</summary>
    public async Task<List<ReceivedReport>> ReceiveAsync(int count)
    {
        var reports = new List<ReceivedReport>();
        long start = TimeProvider.System.GetTimestamp();
        while (reports.Count < count)
        {
            reports.AddRange(await Queue.ReceiveAsync(count - reports.Count, TimeSpan.FromMilliseconds(200), CancellationToken.None));
            Assert.True(TimeProvider.System.GetElapsedTime(start) < Limit, $"{reports.Count} of {count} reports came within {Limit}");
        }

        return reports;
    }

    public static async Task Until(Func<bool> condition)
    {
        long start = TimeProvider.System.GetTimestamp();
        while (!condition())
        {
            Assert.True(TimeProvider.System.GetElapsedTime(start) < Limit, $"nothing came of it within {Limit}");
            await Task.Delay(2);
        }
    }

    public static void AssertSame(FinishedSample expected, WorkOutcome outcome)
    {
        FinishedSample sample = Assert.IsType<DenoisedOutcome>(outcome).Sample;
        Assert.Equal(expected.Position, sample.Position);
        Assert.Equal(expected.Image.ToArray(), sample.Image.ToArray());
        Assert.Equal(expected.Caption.ToArray(), sample.Caption.ToArray());
        Assert.Equal(expected.Json.ToArray(), sample.Json.ToArray());
    }

    public async ValueTask DisposeAsync()
    {
        foreach ((WorkerHost host, Task run, CancellationTokenSource stop) in _workers)
        {
            await stop.CancelAsync();
            await ((Task)run.ContinueWith(static _ => { }, TaskScheduler.Default)).WaitAsync(Limit); // its own test looks at how it ended
            host.Dispose();
            stop.Dispose();
        }

        Queue.Dispose();
    }
}
