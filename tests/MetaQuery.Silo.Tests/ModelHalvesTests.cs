using MetaQuery.Data;
using MetaQuery.Farm;
using MetaQuery.Imaging;
using MetaQuery.TestKit;

namespace MetaQuery.Silo.Tests;

/// <summary>The shipped model, loaded whole and by halves.</summary>
public sealed class ModelHalvesTests(ModelHalvesTests.WholeModel loaded) : IClassFixture<ModelHalvesTests.WholeModel>
{
    private static readonly string Nano = RepositoryFolders.NanoModel;
    private static readonly string[] Captions = ["a red apple on a table", "a blue car in the snow", ""];

    [Fact]
    public void A_description_without_weights_says_what_the_loaded_model_says()
    {
        ModelDescription described = LocalModel.Describe(Nano);
        ModelDescription whole = loaded.Model.Description;
        Assert.Equal(whole.Images, described.Images with { Numerics = whole.Images.Numerics });
        Assert.Equal(whole.Conditions, described.Conditions with { Numerics = whole.Conditions.Numerics, Dtype = whole.Conditions.Dtype });
        Assert.Equal(whole.Conditions.ConditionBytes, loaded.Model.CreateEncoder().Encode([new ConditionRequest("a cup")], null, CancellationToken.None)[0].Length);
    }

    [Fact]
    public async Task Workers_with_a_half_each_share_a_lane_with_a_whole_one_and_give_the_same_bytes()
    {
        LocalModel whole = loaded.Model;
        SortedDictionary<long, byte[]> expected = await MakeAsync([(whole, WorkRoles.Both)]);
        using LocalModel text = LocalModel.Load(Nano, "float32", roles: WorkRoles.Mllm);
        using LocalModel image = LocalModel.Load(Nano, "float32", roles: WorkRoles.Dit);
        Assert.Equal(whole.Description, text.Description);
        Assert.Equal(whole.Description, image.Description);
        Assert.Throws<InvalidOperationException>(() => text.CreateDenoiser());
        Assert.Throws<InvalidOperationException>(() => image.CreateEncoder());
        SortedDictionary<long, byte[]> apart = await MakeAsync([(text, WorkRoles.Mllm), (image, WorkRoles.Dit)]);
        Assert.Equal(expected.Keys, apart.Keys);
        Assert.All(expected, sample => Assert.Equal(sample.Value, apart[sample.Key]));
    }

    private static async Task<SortedDictionary<long, byte[]>> MakeAsync((LocalModel Model, WorkRoles Roles)[] workers)
    {
        string folder = Directory.CreateTempSubdirectory("metaquery-halves-").FullName;
        using var queue = new MemoryWorkQueue(TimeSpan.FromSeconds(30));
        using var stop = new CancellationTokenSource();
        var registry = new MemoryWorkerRegistry(TimeSpan.FromSeconds(30));
        WorkerHost[] hosts =
        [
            .. workers.Select(worker => new WorkerHost(
                worker.Model, queue, registry, new ConditionCache(0, [new DiskConditionTier(folder, 1 << 26)]), new WorkerOptions { Roles = worker.Roles })),
        ];
        Task[] runs = [.. hosts.Select(host => host.RunAsync(stop.Token))];
        try
        {
            string lane = hosts[0].Info.Lane;
            await queue.FeedAsync(lane, [.. Captions.Select(Encode)], CancellationToken.None);
            Assert.All(await ReceiveAsync(queue, Captions.Length), report => Assert.Equal(new EncodedOutcome(WasMade: true), report.Outcome));
            // two jobs in one batch shape, so that batches mix them
            await queue.FeedAsync(lane, [.. Enumerable.Range(0, 6).Select(position => Denoise(position, $"job {position % 2}"))], CancellationToken.None);
            var samples = new SortedDictionary<long, byte[]>();
            foreach (ReceivedReport report in await ReceiveAsync(queue, 6))
            {
                FinishedSample sample = Assert.IsType<DenoisedOutcome>(report.Outcome).Sample;
                samples.Add(sample.Position, [.. sample.Image.Span, .. sample.Caption.Span, .. sample.Json.Span]);
            }

            return samples;
        }
        finally
        {
            await stop.CancelAsync();
            await Task.WhenAll(runs);
            Array.ForEach(hosts, host => host.Dispose());
            Directory.Delete(folder, recursive: true);
        }

        EncodeItem Encode(string caption) => new(Key(caption), new ConditionRequest(caption), KeepOnDisk: true);

        DenoiseItem Denoise(int position, string job) => new(
            job, position, $"{position:d9}", new PromptLine { Line = position + 1, Index = position, Prompt = Captions[position % 2] },
            new LineSettings(3, 4.5f, ""), 0, ImageSeed.ForPrompt(7, position, 0), Key(Captions[position % 2]), Key(""), workers[0].Model.Description.Images.DefaultSize,
            4, ImageFormat.Png, 100);

        ConditionKey Key(string caption) => ConditionKey.Create(workers[0].Model.Description.Conditions, new ConditionRequest(caption));
    }

    private static async Task<List<ReceivedReport>> ReceiveAsync(MemoryWorkQueue queue, int count)
    {
        using var limit = new CancellationTokenSource(TimeSpan.FromMinutes(1));
        var reports = new List<ReceivedReport>();
        while (reports.Count < count)
        {
            reports.AddRange(await queue.ReceiveAsync(count - reports.Count, TimeSpan.FromSeconds(1), limit.Token));
        }

        return reports;
    }

    public sealed class WholeModel : IDisposable
    {
        public LocalModel Model { get; } = LocalModel.Load(Nano, "float32");

        public void Dispose() => Model.Dispose();
    }
}
