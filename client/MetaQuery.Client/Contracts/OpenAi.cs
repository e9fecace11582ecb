using System.ComponentModel;
using System.ComponentModel.DataAnnotations;
using System.Text.Json.Serialization;

namespace MetaQuery.Client;

/// <summary>What <c>POST /v1/images/generations</c> takes: OpenAI's fields, and a few of our own. Fields it does not know are passed over.</summary>
public sealed record ImageRequest : ImageSettings
{
    [Required]
    [Length(1, JobRequest.MaxPromptCharacters)]
    [JsonPropertyOrder(Before)]
    public required string Prompt { get; init; }

    [Description("Taken for compatibility; without effect.")]
    [MaxLength(32)]
    [JsonPropertyOrder(Between)]
    public string? Quality { get; init; }

    [Description("Taken for compatibility; without effect.")]
    [MaxLength(32)]
    [JsonPropertyOrder(Between)]
    public string? Style { get; init; }

    [Description("Taken for compatibility; without effect.")]
    [MaxLength(32)]
    [JsonPropertyOrder(Between)]
    public string? Background { get; init; }

    [Description("Taken for compatibility; without effect.")]
    [MaxLength(32)]
    [JsonPropertyOrder(Between)]
    public string? Moderation { get; init; }
}

/// <param name="Created">Seconds since 1970.</param>
/// <param name="Failed">Why pictures are missing; left out where none is.</param>
public sealed record ImageResponse(
    long Created, IReadOnlyList<GeneratedImage> Data, string OutputFormat, string Size,
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] IReadOnlyList<string>? Failed = null);

/// <param name="B64Json">The picture's file in base64.</param>
/// <param name="Url">Where it can be had for an hour.</param>
public sealed record GeneratedImage(
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] string? B64Json,
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] string? Url);

/// <param name="DefaultSize">WIDTHxHEIGHT.</param>
/// <param name="ReadsPictures">Whether prompts may have pictures.</param>
/// <param name="SizeMultiple">Width and height are multiples of it.</param>
public sealed record Model(
    string Id, string Object, long Created, string OwnedBy, string Revision, string DefaultSize, int SizeMultiple, int MinSize, int MaxSize, int DefaultSteps,
    float DefaultGuidance, int DefaultBatchSize, bool ReadsPictures);

public sealed record ModelList(string Object, IReadOnlyList<Model> Data);

/// <summary>Every error of the API, in OpenAI's shape.</summary>
public sealed record ErrorResponse(Error Error);

/// <param name="Message">One line: what, where, what would be right.</param>
/// <param name="Param">The field, parameter or header that is wrong.</param>
public sealed record Error(string Message, string Type, string? Param, string? Code);
