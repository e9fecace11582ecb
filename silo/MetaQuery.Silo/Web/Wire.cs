using System.Text.Json;
using MetaQuery.Client;
using MetaQuery.Farm;
using MetaQuery.Imaging;
using FarmFile = MetaQuery.Farm.JobFile;

namespace MetaQuery.Silo.Web;

/// <summary>The farm's records as the wire has them.</summary>
internal static class Wire
{
    public const string List = "list";

    public static Job Job(JobView job) => new(
        job.Id, "job", job.Name, job.Tenant, Snake(job.Priority.ToString()), JobLifecycle.NameOf(job.State), job.Reason,
        new Client.JobCounts(job.Counts.Prompts, job.Counts.Images, job.Counts.Planned, job.Counts.Encoded, job.Counts.Denoised, job.Counts.Written, job.Counts.Failed),
        Finite(job.ImagesPerSecond), job.TimeLeft?.TotalSeconds, Settings(job.Settings), job.SkippedLines, job.NumericsFingerprint,
        job.CreatedAt, job.StartedAt, job.FinishedAt, job.ExpiresAt);

    public static IReadOnlyList<string> States { get; } = [.. Enum.GetValues<JobState>().Select(JobLifecycle.NameOf)];

    public static string Size(ImageSize size) => $"{size.WidthPixels}x{size.HeightPixels}";

    public static Sample Sample(SampleView sample, string imageUrl, string thumbnailUrl)
    {
        using JsonDocument metadata = JsonDocument.Parse(sample.MetadataJson);
        return new Sample(sample.Position, sample.Key, sample.Prompt, sample.SampleIndex, metadata.RootElement.Clone(), imageUrl, thumbnailUrl);
    }

    public static Client.JobFile File(FarmFile file, string url) => new(file.Name, file.Bytes, file.MediaType, file.Sha256, url);

    public static SampleFailure Failure(FailedSample failed) => new(failed.Key, failed.PromptIndex, failed.SampleIndex, failed.Prompt, failed.Reason);

    public static Worker Worker(WorkerView worker)
    {
        (WorkerInfo info, WorkerStatus status, TimeSpan silent) = worker;
        List<string> roles = [];
        if (info.Roles.HasFlag(WorkRoles.Mllm))
        {
            roles.Add("mllm");
        }

        if (info.Roles.HasFlag(WorkRoles.Dit))
        {
            roles.Add("dit");
        }

        return new Worker(
            info.Id, "worker", info.Host, info.ProcessId, roles, info.Device, info.Lane, info.Images.ModelName, info.Images.ModelRevision, Snake(status.State.ToString()),
            info.StartedAt, silent.TotalSeconds, Finite(status.ImagesPerSecond), Finite(status.ConditionsPerSecond), status.ImagesMade, status.ConditionsMade,
            Finite(status.BusyShare), [.. status.Slots.Select(slot => new WorkerSlot(slot.Activity, slot.Rows, slot.JobIds, slot.Since))]);
    }

    /// <summary>A worker as one who is no admin may see it: its id says which it is, not where; slots name the asker's own jobs.</summary>
    public static Worker WorkerOf(WorkerView worker, IReadOnlySet<string> ownJobs)
    {
        Worker whole = Worker(worker);
        return whole with
        {
            Id = "worker-" + whole.Id[(whole.Id.LastIndexOf('-') + 1)..], // the rest is host and process id
            Host = null,
            ProcessId = null,
            Slots = [.. whole.Slots.Select(slot => slot with { Jobs = [.. slot.Jobs.Where(ownJobs.Contains)] })],
        };
    }

    public static CacheReport Cache(FarmCounters counters) => new(
        "cache", counters.Cache.MemoryHits, counters.Cache.DiskHits, counters.Cache.Misses, counters.Cache.SharedFlights, counters.Cache.Evictions,
        counters.Cache.CorruptEntries, counters.Cache.MemoryBytes, counters.Cache.DiskBytes, counters.Passes, counters.PassesAgain,
        counters.Cache.RedisHits, counters.Cache.RedisBytes, counters.Cache.RedisEvictions, counters.Cache.DiskEvictions);

    public static Model Model(ImageModelInfo model, bool readsPictures, DateTimeOffset created) => new(
        model.ModelName, "model", created.ToUnixTimeSeconds(), "metaquery", model.ModelRevision, Size(model.DefaultSize), model.SizeMultiplePixels, model.MinSizePixels,
        model.MaxSizePixels, model.DefaultNumInferenceSteps, model.DefaultGuidanceScale, model.DefaultBatchSize, readsPictures);

    public static string Format(ImageFormat format) => ImageEncoder.Extension(format);

    private static JobSettings Settings(ResolvedSettings settings) => new(
        Size(settings.Size), settings.NumInferenceSteps, settings.GuidanceScale, settings.NegativePrompt, settings.Seed, settings.ImagesPerPrompt,
        settings.SamplesPerShard, Format(settings.Format), settings.Quality, settings.BatchSize)
    {
        ImageGuidance = settings.ImageGuidanceScale,
    };

    // JSON has no number for it
    public static double Finite(double value) => double.IsFinite(value) ? value : 0;

    public static string Snake(string name) => JsonNamingPolicy.SnakeCaseLower.ConvertName(name);
}
