using System.ComponentModel;
using System.ComponentModel.DataAnnotations;
using System.Text.Json.Serialization;

namespace MetaQuery.Client;

/// <summary>What requests for pictures share: OpenAI's fields, and a few of our own.</summary>
public abstract record ImageSettings
{
    /// <summary>Places of the fields that a request has beside these; as they were first written.</summary>
    private protected const int Before = -1, Between = 1, Behind = 3;

    [Description("Number of pictures to make.")]
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

    [AllowedValues("png", "jpeg", "webp")]
    [JsonPropertyOrder(Between + 1)]
    public string? OutputFormat { get; init; }

    [Description("Quality of jpeg and webp.")]
    [Range(1, 100)]
    [JsonPropertyOrder(Between + 1)]
    public int? OutputCompression { get; init; }

    [Description("Pictures come whole: only false is taken.")]
    [AllowedValues(false)]
    [JsonPropertyOrder(Between + 1)]
    public bool? Stream { get; init; }

    [Description("Ours: the same seed gives the same pictures.")]
    [JsonPropertyOrder(Between + 1)]
    public ulong? Seed { get; init; }

    [Description("Ours: denoising steps.")]
    [Range(1, 1000)]
    [JsonPropertyOrder(Between + 1)]
    public int? Steps { get; init; }

    [Description("Ours: guidance scale.")]
    [Range(0d, 100d)]
    [JsonPropertyOrder(Between + 1)]
    public float? Guidance { get; init; }

    [Description("Ours: what the picture should not show.")]
    [MaxLength(JobRequest.MaxPromptCharacters)]
    [JsonPropertyOrder(Behind + 1)]
    public string? NegativePrompt { get; init; }
}
