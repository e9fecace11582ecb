using MetaQuery.Farm;
using MetaQuery.Imaging;
using MetaQuery.Silo.Web;
using MetaQuery.TestKit;

namespace MetaQuery.Benchmarks.Farm;

/// <summary>A thousand clients watch one job of the real head through the real web API; only the pipeline's halves are faked.</summary>
internal static class WatchingCrowd
{
    private const int Clients = 1000;
    private static readonly TimeSpan LeaseTime = TimeSpan.FromSeconds(30);

    public static async Task<CrowdResult> MeasureAsync()
    {
        var data = Directory.CreateTempSubdirectory("metaquery-bench-");
        try
        {
            var model = new BlankModel();
            using var queue = new MemoryWorkQueue(LeaseTime);
            var registry = new MemoryWorkerRegistry(LeaseTime);
            using var worker = new WorkerHost(model, queue, registry, new ConditionCache(64 << 20, disk: null), new WorkerOptions { LeaseTime = LeaseTime });
            await using FarmHead head = await FarmHead.StartAsync(model.Description, queue, registry, new HeadOptions { DataFolder = data.FullName }, CancellationToken.None);
            var keys = new ApiKeyRing(new ApiKeyFile(data.FullName));
            await using FarmWebServer web = await FarmWebServer.StartAsync(head, keys, new WebOptions { Urls = ["http://127.0.0.1:0"] });
            Task working = worker.RunAsync(CancellationToken.None);
            JobView job = await head.SubmitAsync(
                new JobSubmission { Tenant = "bench", Spec = new JobSpec { OutFolder = "", Prompts = ["x"], ImagesPerPrompt = 100_000 } }, CancellationToken.None);
            CrowdResult seen = await new EventCrowd(new Uri(web.Urls[0]), job.Id, Clients).WatchAsync(TimeSpan.FromSeconds(10));
            await head.ApplyAsync(new JobReference(job.Id, null), JobCommand.Cancel, CancellationToken.None);
            worker.Drain();
            await web.StopAsync(CancellationToken.None);
            await working;
            return seen;
        }
        finally
        {
            data.Delete(recursive: true);
        }
    }

    /// <summary>Blank pictures, a batch of eight each twentieth of a second.</summary>
    private sealed class BlankModel : IFarmModel, IConditionEncoder, IImageDenoiser
    {
        private static readonly NumericsFingerprint Numerics = new("float32", "none", 1, "none", "blank");
        private static readonly TimeSpan Step = TimeSpan.FromMilliseconds(50);

        public ModelDescription Description { get; } = new(
            new ConditionIdentity("blank", "none", "", "", 1, "bfloat16", Numerics.ToString(), 2),
            new ImageModelInfo("blank", "blank", new ImageSize(8, 8), 8, 8, 64, 1, 1, 8, Numerics));

        public ConditionIdentity Identity => Description.Conditions;

        public ImageModelInfo Info => Description.Images;

        public IConditionEncoder CreateEncoder(IPictureSource? pictures = null) => this;

        public IImageDenoiser CreateDenoiser() => this;

        public IReadOnlyList<byte[]> Encode(IReadOnlyList<ConditionRequest> requests, Action? progress, CancellationToken cancellationToken) => [.. requests.Select(_ => new byte[2])];

        public IReadOnlyList<RgbImage> Denoise(DenoiseBatch batch, Action? progress, CancellationToken cancellationToken)
        {
            cancellationToken.WaitHandle.WaitOne(Step);
            cancellationToken.ThrowIfCancellationRequested();
            return [.. batch.Rows.Select(_ => new RgbImage(batch.WidthPixels, batch.HeightPixels, new byte[3 * batch.WidthPixels * batch.HeightPixels]))];
        }
    }
}
