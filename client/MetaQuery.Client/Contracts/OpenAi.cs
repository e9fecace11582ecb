using System.ComponentModel;
using System.ComponentModel.DataAnnotations;
using System.Text.Json.Serialization;

namespace MetaQuery.Client;

/// <summary>What <c>POST /v1/images/generations</c> takes: OpenAI's fields, and a few of our own. Fields it does not know are passed over.</summary>
public sealed record ImageRequest
{
    [Required]
    [Length(1, JobRequest.MaxPromptCharacters)]
    public required string Prompt { get; init; }

    [Description("Number of pictures.")]
    [Range(1, 10)]
    public int? N { get; init; }

    [Description("WIDTHxHEIGHT in pixels, or auto for the model's own.")]
    [RegularExpression("^(auto|[1-9][0-9]{0,4}x[1-9][0-9]{0,4})$")]
    public string? Size { get; init; }

    [AllowedValues("b64_json", "url")]
    public string? ResponseFormat { get; init; }

    [Description("The farm's model, or one of OpenAI's names, which stand for it.")]
    [MaxLength(200)]
    public string? Model { get; init; }

    [Description("An end user's name: kept with nothing.")]
    [MaxLength(512)]
    public string? User { get; init; }

    [Description("Taken for compatibility; without effect.")]
    [MaxLength(32)]
    public string? Quality { get; init; }

    [Description("Taken for compatibility; without effect.")]
    [MaxLength(32)]
    public string? Style { get; init; }

    [Description("Taken for compatibility; without effect.")]
    [MaxLength(32)]
    public string? Background { get; init; }

    [Description("Taken for compatibility; without effect.")]
    [MaxLength(32)]
    public string? Moderation { get; init; }

    [AllowedValues("png", "jpeg", "webp")]
    public string? OutputFormat { get; init; }

    [Description("Quality of jpeg and webp.")]
    [Range(1, 100)]
    public int? OutputCompression { get; init; }

    [Description("Pictures come whole: only false is taken.")]
    [AllowedValues(false)]
    public bool? Stream { get; init; }

    [Description("Ours: the same seed gives the same pictures.")]
    public ulong? Seed { get; init; }

    [Description("Ours: denoising steps.")]
    [Range(1, 1000)]
    public int? Steps { get; init; }

    [Description("Ours: guidance scale.")]
    [Range(0d, 100d)]
    public float? Guidance { get; init; }

    [Description("Ours: what the picture should not show.")]
    [MaxLength(JobRequest.MaxPromptCharacters)]
    public string? NegativePrompt { get; init; }
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
/// <param name="SizeMultiple">Width and height are multiples of it.</param>
public sealed record Model(
    string Id, string Object, long Created, string OwnedBy, string Revision, string DefaultSize, int SizeMultiple, int MinSize, int MaxSize, int DefaultSteps,
    float DefaultGuidance, int DefaultBatchSize);

public sealed record ModelList(string Object, IReadOnlyList<Model> Data);

/// <summary>Every error of the API, in OpenAI's shape.</summary>
public sealed record ErrorResponse(Error Error);

/// <param name="Message">One line: what, where, what would be right.</param>
/// <param name="Param">The field, parameter or header that is wrong.</param>
public sealed record Error(string Message, string Type, string? Param, string? Code);
