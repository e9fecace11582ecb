using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Serialization;
using MetaQuery.Imaging;

namespace MetaQuery.Farm;

/// <summary>All that a head remembers of a job through its own death. Written whole at every change; the last one holds.</summary>
internal sealed record JobRecord
{
    private const int CurrentVersion = 1;
    private const int MostSkippedLines = 20;

    private static readonly JsonSerializerOptions Json = new()
    {
        PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower,
        Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
        DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull,
        Converters = { new JsonStringEnumConverter(JsonNamingPolicy.SnakeCaseLower) },
    };

    public int Version { get; init; } = CurrentVersion;
    public required string Id { get; init; }
    public string Name { get; init; } = "";
    public required string Tenant { get; init; }
    public JobKind Kind { get; init; }
    public JobPriority Priority { get; init; }
    public JobState State { get; init; }
    public string? Reason { get; init; }
    public DateTimeOffset CreatedAt { get; init; }
    public DateTimeOffset? StartedAt { get; init; }
    public DateTimeOffset? FinishedAt { get; init; }
    public DateTimeOffset? Deadline { get; init; }
    public TimeSpan? TaskTimeout { get; init; }
    public string? IdempotencyKey { get; init; }

    /// <summary>SHA-256 of what was asked, for <see cref="IdempotencyKey"/>.</summary>
    public string ContentHash { get; init; } = "";

    /// <summary><c>txt</c>, <c>jsonl</c>, <c>csv</c> or <c>literal</c>: which file in the job's folder holds the prompts.</summary>
    public required string PromptsFormat { get; init; }
    public bool SkipInvalid { get; init; }
    public string? Dtype { get; init; }
    public required ResolvedSettings Settings { get; init; }
    public long Prompts { get; init; }
    public long Images { get; init; }
    public IReadOnlyList<string> SkippedLines { get; init; } = [];

    /// <summary>The lane that it began in; null until then.</summary>
    public JobLane? Lane { get; init; }

    /// <summary>Failed samples are to be tried again when it is opened next.</summary>
    public bool RetriesFailed { get; init; }

    /// <summary>As last seen; an open job's session knows better.</summary>
    public JobCounts? Counts { get; init; }

    [JsonIgnore]
    public bool IsFinal => JobLifecycle.IsFinal(State);

    /// <summary>The prompts' file name in the job's folder.</summary>
    [JsonIgnore]
    public string PromptsFile => PromptsFormat == "literal" ? "prompts.json" : $"prompts.{PromptsFormat}";

    [JsonIgnore]
    public long Unsettled => IsFinal ? 0 : Images - (Counts?.Written ?? 0) - (Counts?.Failed ?? 0);

    public byte[] ToBytes() => JsonSerializer.SerializeToUtf8Bytes(this with { SkippedLines = [.. SkippedLines.Take(MostSkippedLines)] }, Json);

    /// <exception cref="JournalDamagedException">Not a record of this program, or a newer version's.</exception>
    public static JobRecord Parse(ReadOnlySpan<byte> bytes)
    {
        try
        {
            JobRecord record = JsonSerializer.Deserialize<JobRecord>(bytes, Json) ?? throw new JsonException("null");
            return record.Version == CurrentVersion
                ? record
                : throw new JournalDamagedException($"job {record.Id}: its record has version {record.Version}; this program knows {CurrentVersion}: use the program that wrote it, or a newer one");
        }
        catch (JsonException exception)
        {
            throw new JournalDamagedException($"a job's record cannot be read: {exception.Message}");
        }
    }
}

/// <summary>The numerics that a job keeps to from its start on.</summary>
/// <param name="Name">The lane.</param>
/// <param name="ConditionNumerics">The encoder's.</param>
/// <param name="ConditionDtype">The encoder's dtype.</param>
/// <param name="Numerics">The denoiser's.</param>
internal sealed record JobLane(string Name, string ConditionNumerics, string ConditionDtype, NumericsFingerprint Numerics)
{
    public static JobLane Of(ModelDescription model) =>
        new(model.Lane, model.Conditions.Numerics, model.Conditions.Dtype, model.Images.Numerics);

    /// <summary>The head's model as it computes in this lane.</summary>
    public ModelDescription Describe(ModelDescription model) => new(
        model.Conditions with { Numerics = ConditionNumerics, Dtype = ConditionDtype }, model.Images with { Numerics = Numerics });
}
