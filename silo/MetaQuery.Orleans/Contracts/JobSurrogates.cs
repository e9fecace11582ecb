using MetaQuery.Farm;
using MetaQuery.Imaging;

namespace MetaQuery.Orleans;

// How the farm's own records cross silos. A surrogate's ids are append-only; ContractTests freezes the bytes.

[GenerateSerializer]
[Alias("mq.JobView")]
public struct JobViewSurrogate
{
    [Id(0)] public string Id;
    [Id(1)] public string Name;
    [Id(2)] public string Tenant;
    [Id(3)] public JobKind Kind;
    [Id(4)] public JobPriority Priority;
    [Id(5)] public JobState State;
    [Id(6)] public string? Reason;
    [Id(7)] public long[] Counts;
    [Id(8)] public double ImagesPerSecond;
    [Id(9)] public TimeSpan? TimeLeft;
    [Id(10)] public SettingsSurrogate Settings;
    [Id(11)] public string[] SkippedLines;
    [Id(12)] public string? NumericsFingerprint;
    [Id(13)] public DateTimeOffset CreatedAt;
    [Id(14)] public DateTimeOffset? StartedAt;
    [Id(15)] public DateTimeOffset? FinishedAt;
    [Id(16)] public DateTimeOffset? ExpiresAt;
}

[RegisterConverter]
public sealed class JobViewConverter : IConverter<JobView, JobViewSurrogate>
{
    public JobView ConvertFromSurrogate(in JobViewSurrogate surrogate)
    {
        long[] counts = surrogate.Counts;
        return new JobView(
            surrogate.Id, surrogate.Name, surrogate.Tenant, surrogate.Kind, surrogate.Priority, surrogate.State, surrogate.Reason,
            new JobCounts(counts[0], counts[1], counts[2], counts[3], counts[4], counts[5], counts[6]),
            surrogate.ImagesPerSecond, surrogate.TimeLeft, surrogate.Settings.ToSettings(), surrogate.SkippedLines, surrogate.NumericsFingerprint,
            surrogate.CreatedAt, surrogate.StartedAt, surrogate.FinishedAt, surrogate.ExpiresAt);
    }

    public JobViewSurrogate ConvertToSurrogate(in JobView value)
    {
        JobCounts counts = value.Counts;
        return new JobViewSurrogate
        {
            Id = value.Id,
            Name = value.Name,
            Tenant = value.Tenant,
            Kind = value.Kind,
            Priority = value.Priority,
            State = value.State,
            Reason = value.Reason,
            Counts = [counts.Prompts, counts.Images, counts.Planned, counts.Encoded, counts.Denoised, counts.Written, counts.Failed],
            ImagesPerSecond = value.ImagesPerSecond,
            TimeLeft = value.TimeLeft,
            Settings = SettingsSurrogate.Of(value.Settings),
            SkippedLines = [.. value.SkippedLines],
            NumericsFingerprint = value.NumericsFingerprint,
            CreatedAt = value.CreatedAt,
            StartedAt = value.StartedAt,
            FinishedAt = value.FinishedAt,
            ExpiresAt = value.ExpiresAt,
        };
    }
}

/// <summary>Within <see cref="JobViewSurrogate"/>.</summary>
[GenerateSerializer]
[Alias("mq.ResolvedSettings")]
public struct SettingsSurrogate
{
    [Id(0)] public int HeightPixels;
    [Id(1)] public int WidthPixels;
    [Id(2)] public int NumInferenceSteps;
    [Id(3)] public float GuidanceScale;
    [Id(4)] public string NegativePrompt;
    [Id(5)] public ulong Seed;
    [Id(6)] public int ImagesPerPrompt;
    [Id(7)] public int SamplesPerShard;
    [Id(8)] public ImageFormat Format;
    [Id(9)] public int Quality;
    [Id(10)] public int BatchSize;

    internal static SettingsSurrogate Of(ResolvedSettings settings) => new()
    {
        HeightPixels = settings.Size.HeightPixels,
        WidthPixels = settings.Size.WidthPixels,
        NumInferenceSteps = settings.NumInferenceSteps,
        GuidanceScale = settings.GuidanceScale,
        NegativePrompt = settings.NegativePrompt,
        Seed = settings.Seed,
        ImagesPerPrompt = settings.ImagesPerPrompt,
        SamplesPerShard = settings.SamplesPerShard,
        Format = settings.Format,
        Quality = settings.Quality,
        BatchSize = settings.BatchSize,
    };

    internal readonly ResolvedSettings ToSettings() => new(
        new ImageSize(HeightPixels, WidthPixels), NumInferenceSteps, GuidanceScale, NegativePrompt, Seed, ImagesPerPrompt, SamplesPerShard, Format, Quality, BatchSize);
}

[GenerateSerializer]
[Alias("mq.JobSubmission")]
public struct JobSubmissionSurrogate
{
    [Id(0)] public string? PromptFile;
    [Id(1)] public string[]? Prompts;
    [Id(2)] public int ImagesPerPrompt;
    [Id(3)] public int? HeightPixels;
    [Id(4)] public int? WidthPixels;
    [Id(5)] public int? NumInferenceSteps;
    [Id(6)] public float? GuidanceScale;
    [Id(7)] public string NegativePrompt;
    [Id(8)] public ulong Seed;
    [Id(9)] public int SamplesPerShard;
    [Id(10)] public ImageFormat Format;
    [Id(11)] public int Quality;
    [Id(12)] public JobPriority Priority;
    [Id(13)] public string? Dtype;
    [Id(14)] public int? BatchSize;
    [Id(15)] public bool SkipInvalid;
    [Id(16)] public string Tenant;
    [Id(17)] public string Name;
    [Id(18)] public string? IdempotencyKey;
    [Id(19)] public JobKind Kind;
    [Id(20)] public DateTimeOffset? Deadline;
    [Id(21)] public TimeSpan? TaskTimeout;
}

/// <summary>A submission without its stream, which lies in the data folder by then.</summary>
[RegisterConverter]
public sealed class JobSubmissionConverter : IConverter<JobSubmission, JobSubmissionSurrogate>
{
    public JobSubmission ConvertFromSurrogate(in JobSubmissionSurrogate surrogate) => new()
    {
        Spec = new JobSpec
        {
            OutFolder = "",
            PromptFile = surrogate.PromptFile,
            Prompts = surrogate.Prompts,
            ImagesPerPrompt = surrogate.ImagesPerPrompt,
            Size = surrogate is { HeightPixels: { } height, WidthPixels: { } width } ? new ImageSize(height, width) : null,
            NumInferenceSteps = surrogate.NumInferenceSteps,
            GuidanceScale = surrogate.GuidanceScale,
            NegativePrompt = surrogate.NegativePrompt,
            Seed = surrogate.Seed,
            SamplesPerShard = surrogate.SamplesPerShard,
            Format = surrogate.Format,
            Quality = surrogate.Quality,
            Priority = surrogate.Priority,
            Dtype = surrogate.Dtype,
            BatchSize = surrogate.BatchSize,
            SkipInvalid = surrogate.SkipInvalid,
        },
        Tenant = surrogate.Tenant,
        Name = surrogate.Name,
        IdempotencyKey = surrogate.IdempotencyKey,
        Kind = surrogate.Kind,
        Deadline = surrogate.Deadline,
        TaskTimeout = surrogate.TaskTimeout,
    };

    /// <exception cref="InvalidOperationException">It still has its stream.</exception>
    public JobSubmissionSurrogate ConvertToSurrogate(in JobSubmission value)
    {
        if (value.Prompts is not null || value.Pictures is not null)
        {
            throw new InvalidOperationException("a submission's stream does not cross silos: it is put into the data folder first");
        }

        JobSpec spec = value.Spec;
        return new JobSubmissionSurrogate
        {
            PromptFile = spec.PromptFile,
            Prompts = spec.Prompts is { } prompts ? [.. prompts] : null,
            ImagesPerPrompt = spec.ImagesPerPrompt,
            HeightPixels = spec.Size?.HeightPixels,
            WidthPixels = spec.Size?.WidthPixels,
            NumInferenceSteps = spec.NumInferenceSteps,
            GuidanceScale = spec.GuidanceScale,
            NegativePrompt = spec.NegativePrompt,
            Seed = spec.Seed,
            SamplesPerShard = spec.SamplesPerShard,
            Format = spec.Format,
            Quality = spec.Quality,
            Priority = spec.Priority,
            Dtype = spec.Dtype,
            BatchSize = spec.BatchSize,
            SkipInvalid = spec.SkipInvalid,
            Tenant = value.Tenant,
            Name = value.Name,
            IdempotencyKey = value.IdempotencyKey,
            Kind = value.Kind,
            Deadline = value.Deadline,
            TaskTimeout = value.TaskTimeout,
        };
    }
}

[GenerateSerializer]
[Alias("mq.JobQuery")]
public struct JobQuerySurrogate
{
    [Id(0)] public string? Tenant;
    [Id(1)] public int Most;
    [Id(2)] public string? After;
    [Id(3)] public bool WithRequests;
    [Id(4)] public JobState[]? States;
}

[RegisterConverter]
public sealed class JobQueryConverter : IConverter<JobQuery, JobQuerySurrogate>
{
    public JobQuery ConvertFromSurrogate(in JobQuerySurrogate surrogate) =>
        new(surrogate.Tenant, surrogate.Most, surrogate.After, surrogate.WithRequests, surrogate.States);

    public JobQuerySurrogate ConvertToSurrogate(in JobQuery value) => new()
    {
        Tenant = value.Tenant,
        Most = value.Most,
        After = value.After,
        WithRequests = value.WithRequests,
        States = value.States is { } states ? [.. states] : null,
    };
}

[GenerateSerializer]
[Alias("mq.JobPage")]
public struct JobPageSurrogate
{
    [Id(0)] public JobView[] Jobs;
    [Id(1)] public string? Next;
}

[RegisterConverter]
public sealed class JobPageConverter : IConverter<JobPage, JobPageSurrogate>
{
    public JobPage ConvertFromSurrogate(in JobPageSurrogate surrogate) => new(surrogate.Jobs, surrogate.Next);

    public JobPageSurrogate ConvertToSurrogate(in JobPage value) => new() { Jobs = [.. value.Jobs], Next = value.Next };
}

[GenerateSerializer]
[Alias("mq.JobEvent")]
public struct JobEventSurrogate
{
    [Id(0)] public string Id;
    [Id(1)] public string Type;
    [Id(2)] public JobView Job;
    [Id(3)] public long[] Samples;
}

[RegisterConverter]
public sealed class JobEventConverter : IConverter<JobEvent, JobEventSurrogate>
{
    public JobEvent ConvertFromSurrogate(in JobEventSurrogate surrogate) => new(surrogate.Id, surrogate.Type, surrogate.Job, surrogate.Samples);

    public JobEventSurrogate ConvertToSurrogate(in JobEvent value) => new() { Id = value.Id, Type = value.Type, Job = value.Job, Samples = [.. value.Samples] };
}
