using System.ComponentModel;
using System.ComponentModel.DataAnnotations;
using System.Text.Json.Serialization;

namespace MetaQuery.Client;

/// <summary>Where a job can stand. Append-only.</summary>
public static class JobStates
{
    public const string Queued = "queued";
    public const string Planning = "planning";
    public const string Running = "running";
    public const string Finishing = "finishing";
    public const string Paused = "paused";
    public const string Completed = "completed";
    public const string CompletedWithErrors = "completed_with_errors";
    public const string Cancelled = "cancelled";
    public const string Failed = "failed";

    /// <summary>Whether nothing more happens to a job by itself.</summary>
    public static bool IsFinal(string state) => state is Completed or CompletedWithErrors or Cancelled or Failed;
}

/// <summary>What <c>POST /v1/jobs</c> takes. What is null takes the model's default.</summary>
public sealed record JobRequest
{
    /// <summary>Most prompts of one JSON body; more come as a file.</summary>
    public const int MaxPrompts = 10_000;

    /// <summary>Of a prompt or a negative prompt, in UTF-16 code units.</summary>
    public const int MaxPromptCharacters = 16_384;

    [Description("The prompts themselves. Leave out when a prompt file is uploaded.")]
    [Length(1, MaxPrompts)]
    public IReadOnlyList<string>? Prompts { get; init; }

    [Description("For people.")]
    [MaxLength(200)]
    public string? Name { get; init; }

    [Range(1, 100_000)]
    public int? ImagesPerPrompt { get; init; }

    [Description("WIDTHxHEIGHT in pixels, or auto for the model's own.")]
    [RegularExpression("^(auto|[1-9][0-9]{0,4}x[1-9][0-9]{0,4})$")]
    public string? Size { get; init; }

    [Description("Denoising steps.")]
    [Range(1, 1000)]
    public int? Steps { get; init; }

    [Description("Guidance scale; 1 or less is none.")]
    [Range(0d, 100d)]
    public float? Guidance { get; init; }

    [Description("Of prompts with pictures: how much those guide; 1 or less is not at all (default 1.5, and 3 for a prompt without text).")]
    [Range(0d, 100d)]
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] // a server that does not know it refuses it
    public float? ImageGuidance { get; init; }

    [Description("What the pictures should not show.")]
    [MaxLength(MaxPromptCharacters)]
    public string? NegativePrompt { get; init; }

    [Description("Of the whole job; each picture's own is made of it.")]
    public ulong? Seed { get; init; }

    [Range(1, 10_000_000)]
    public int? SamplesPerShard { get; init; }

    [AllowedValues("png", "jpg", "webp")]
    public string? Format { get; init; }

    [Description("Of jpg and webp.")]
    [Range(1, 100)]
    public int? Quality { get; init; }

    [Description("Pictures denoised together; part of what a picture's bits depend on.")]
    [Range(1, 1024)]
    public int? BatchSize { get; init; }

    [AllowedValues("bulk", "interactive")]
    public string? Priority { get; init; }

    [Description("Pass over bad lines of the prompt file and list them; otherwise the first one refuses the job.")]
    public bool? SkipInvalid { get; init; }

    [Description("The job is cancelled when this has passed.")]
    public DateTimeOffset? Deadline { get; init; }

    [Description("Longest time of one batch.")]
    [Range(1d, 86_400d)]
    public double? TaskTimeoutSeconds { get; init; }

    [Description("How an uploaded file is written, where its name does not say it.")]
    [AllowedValues("txt", "jsonl", "csv")]
    public string? PromptsFormat { get; init; }
}

/// <summary>A job as it stands.</summary>
/// <param name="State">One of <see cref="JobStates"/>; a later server may have more.</param>
/// <param name="Reason">Why it failed, waits or was cancelled.</param>
/// <param name="SecondsLeft">An estimate; null while there is none.</param>
/// <param name="Numerics">Fingerprint of what its bits depend on besides model and settings; null until it has started.</param>
/// <param name="ExpiresAt">When it will be deleted; null for never.</param>
public sealed record Job(
    string Id, string Object, string Name, string Tenant, string Priority, string State, string? Reason, JobCounts Counts, double ImagesPerSecond,
    double? SecondsLeft, JobSettings Settings, IReadOnlyList<string> SkippedLines, string? Numerics, DateTimeOffset CreatedAt, DateTimeOffset? StartedAt,
    DateTimeOffset? FinishedAt, DateTimeOffset? ExpiresAt);

/// <summary>Images by how far they are, but for the first: prompts.</summary>
public sealed record JobCounts(long Prompts, long Images, long Planned, long Encoded, long Denoised, long Written, long Failed);

/// <param name="Size">WIDTHxHEIGHT.</param>
public sealed record JobSettings(
    string Size, int Steps, float Guidance, string NegativePrompt, ulong Seed, int ImagesPerPrompt, int SamplesPerShard, string Format, int Quality, int BatchSize)
{
    /// <summary>Of prompts with pictures, where the job states one.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public float? ImageGuidance { get; init; }
}

/// <summary>A page of jobs, newest first.</summary>
/// <param name="Next">For <c>after</c>; null on the last page.</param>
public sealed record JobList(string Object, IReadOnlyList<Job> Data, string? Next);

/// <summary>What an event says: the job after it, and positions of samples that are new.</summary>
public sealed record JobEventData(Job Job, IReadOnlyList<long> Samples);

/// <summary>An event as it came.</summary>
/// <param name="Id">For <c>Last-Event-ID</c>.</param>
/// <param name="Type"><c>snapshot</c>, <c>state</c>, <c>progress</c> or <c>samples</c>; a later server may have more.</param>
public sealed record JobEvent(string Id, string Type, JobEventData Data);
