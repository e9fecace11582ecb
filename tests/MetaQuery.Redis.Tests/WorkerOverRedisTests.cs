using MetaQuery.Data;
using MetaQuery.Farm;
using MetaQuery.Farm.Tests.Doubles;
using MetaQuery.Imaging;
using MetaQuery.TestKit;

namespace MetaQuery.Redis.Tests;

/// <summary>Whole workers over toy models on a real redis-server, the test in the head's place.</summary>
public sealed class WorkerOverRedisTests
{
    private static readonly CancellationToken None = CancellationToken.None;
    private static readonly ModelDescription Model = new ToyModel().Description;
    private static readonly string[] Captions = ["", .. Enumerable.Range(0, 12).Select(i => $"prompt {i}")];

    [Fact]
    public async Task Workers_of_one_role_each_encode_every_condition_once_and_give_the_bytes_of_one_process()
    {
        using var redis = new RealRedis();
        await using var farm = new TestFarm(redis);
        RedisWorkFeed head = await farm.HeadAsync();
        ToyModel[] models = [.. Enumerable.Range(0, 4).Select(_ => new ToyModel())];
        Running[] workers =
        [
            .. await Task.WhenAll(models.Select((model, i) => StartAsync(farm, model, new WorkerOptions { Roles = i < 2 ? WorkRoles.Mllm : WorkRoles.Dit, Slots = 2 }))),
        ];
        await head.FeedAsync(Model.Lane, [.. Captions.Select(Encode), .. Captions.Select(Encode)], None);
        await ReceiveAsync(head, 2 * Captions.Length);
        Assert.Equal(Captions.Length, models.Sum(model => model.TotalPasses));
        DenoiseItem[] items = [.. Enumerable.Range(0, 40).Select(i => Image(i))];
        await head.FeedAsync(Model.Lane, items, None);
        AssertAllRight(await ReceiveAsync(head, 40));
        Array.ForEach(workers, worker => worker.Host.Drain());
        await Task.WhenAll(workers.Select(worker => worker.Run)).WaitAsync(TimeSpan.FromSeconds(30));
        Assert.Equal(new LaneDepth(0, 0, 0, 0), await head.DepthAsync(Model.Lane, None));
        Assert.Empty(Directory.GetFiles(farm.Inbox));
    }

    [Fact]
    public async Task A_worker_outlives_a_server_that_is_killed_and_reports_what_it_finished_meanwhile()
    {
        using var redis = new RealRedis();
        await using var farm = new TestFarm(redis, patience: TimeSpan.FromMilliseconds(200)) { CommandTimeout = TimeSpan.FromMilliseconds(500) };
        RedisWorkFeed head = await farm.HeadAsync();
        using var running = new SemaphoreSlim(0);
        using var release = new ManualResetEventSlim();
        var model = new ToyModel
        {
            BeforeDenoise = (_, stop) =>
            {
                running.Release();
                release.Wait(stop);
            },
        };
        Running worker = await StartAsync(farm, model, new WorkerOptions());
        await head.FeedAsync(Model.Lane, [.. Captions.Select(Encode)], None);
        await ReceiveAsync(head, Captions.Length);
        await head.FeedAsync(Model.Lane, [.. Enumerable.Range(0, 20).Select(i => Image(i))], None);
        Assert.True(await running.WaitAsync(TimeSpan.FromSeconds(30)));
        redis.Kill();
        release.Set();
        await TestFarm.UntilAsync(() => Task.FromResult(worker.Host.Counters.Images >= 4), "the batch was made without the server");
        redis.Start();
        AssertAllRight(await ReceiveAsync(head, 20));
        Assert.Equal(0, worker.Host.Counters.LostLeases);
        Assert.All(model.Denoised.Values, count => Assert.Equal(1, count));
        worker.Host.Drain();
        await worker.Run.WaitAsync(TimeSpan.FromSeconds(30));
    }

    [Fact]
    public async Task A_withdrawn_job_frees_the_slot_at_once()
    {
        using var redis = new RealRedis();
        await using var farm = new TestFarm(redis);
        RedisWorkFeed head = await farm.HeadAsync();
        using var running = new SemaphoreSlim(0);
        var model = new ToyModel
        {
            BeforeDenoise = (batch, stop) =>
            {
                running.Release();
                if (batch.NumInferenceSteps == 9)
                {
                    stop.WaitHandle.WaitOne();
                }
            },
        };
        Running worker = await StartAsync(farm, model, new WorkerOptions());
        await head.FeedAsync(Model.Lane, [.. Captions.Select(Encode)], None);
        await ReceiveAsync(head, Captions.Length);
        await head.FeedAsync(Model.Lane, [.. Enumerable.Range(0, 12).Select(i => Image(i, "withdrawn", steps: 9))], None);
        Assert.True(await running.WaitAsync(TimeSpan.FromSeconds(30)));
        await head.FeedAsync(Model.Lane, [.. Enumerable.Range(0, 4).Select(i => Image(i))], None);
        await head.WithdrawAsync("withdrawn", None);
        AssertAllRight(await ReceiveAsync(head, 4));
        Assert.Equal(4, worker.Host.Counters.Images);
        worker.Host.Drain();
        await worker.Run.WaitAsync(TimeSpan.FromSeconds(30));
    }

    private static async Task<Running> StartAsync(TestFarm farm, ToyModel model, WorkerOptions options)
    {
        RedisConnection connection = await farm.ConnectAsync();
        var cache = new ConditionCache(1 << 20, [new RedisConditionTier(connection)], new RedisFlightBoard(connection));
        var host = new WorkerHost(model, await farm.WorkerAsync(), new RedisWorkerRegistry(connection, TimeSpan.FromSeconds(30)), cache, options);
        return new Running(host, host.RunAsync(None));
    }

    private static EncodeItem Encode(string caption) =>
        new(ConditionKey.Create(Model.Conditions, new ConditionRequest(caption)), new ConditionRequest(caption), KeepOnDisk: false);

    private static DenoiseItem Image(int position, string job = "job", int steps = 4)
    {
        string caption = Captions[1 + (position % (Captions.Length - 1))];
        return new DenoiseItem(
            job, position, $"{position:d9}", new PromptLine { Line = position + 1, Index = position, Prompt = caption }, new LineSettings(steps, 4.5f, ""), 0,
            ImageSeed.ForPrompt(1, position, 0), Encode(caption).Key, Encode("").Key, new ImageSize(8, 8), 4, ImageFormat.Png, 100);
    }

    private static async Task<List<ReceivedReport>> ReceiveAsync(RedisWorkFeed head, int count)
    {
        var reports = new List<ReceivedReport>();
        await TestFarm.UntilAsync(async () =>
        {
            try
            {
                IReadOnlyList<ReceivedReport> received = await head.ReceiveAsync(count, TimeSpan.FromMilliseconds(500), None);
                reports.AddRange(received);
                await head.ConfirmAsync(received, None);
            }
            catch (WorkQueueException)
            {
                // the server is being started
            }

            return reports.Count >= count;
        }, $"{count} reports");
        return reports;
    }

    /// <summary>Each item once, and its picture as the toy model gives it alone.</summary>
    private static void AssertAllRight(List<ReceivedReport> reports)
    {
        Assert.Equal(reports.Count, reports.Select(report => report.Item.Id).Distinct().Count());
        var model = new ToyModel();
        foreach (ReceivedReport report in reports)
        {
            var item = (DenoiseItem)report.Item;
            IReadOnlyList<byte[]> conditions = model.CreateEncoder().Encode([new ConditionRequest(item.Prompt.Prompt), new ConditionRequest("")], null, None);
            RgbImage picture = model.CreateDenoiser().Denoise(
                new DenoiseBatch(8, 8, item.Settings.NumInferenceSteps, item.BatchSize, [new DenoiseRow(conditions[0], conditions[1], 4.5f, item.Seed)]), null, None)[0];
            FinishedSample sample = Assert.IsType<DenoisedOutcome>(report.Outcome).Sample;
            Assert.Equal(item.Position, sample.Position);
            Assert.Equal(picture.Pixels.ToArray(), ImageDecoder.Decode(sample.Image.Span).Pixels.ToArray());
        }
    }

    private sealed record Running(WorkerHost Host, Task Run);
}
