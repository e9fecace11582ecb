using System.ComponentModel;
using System.ComponentModel.DataAnnotations;

namespace MetaQuery.Client;

/// <summary>
/// What <c>POST /v1/images/edits</c> takes: OpenAI's fields, and a few of our own, as multipart/form-data with the pictures as parts named <c>image</c> or
/// <c>image[]</c>, or as JSON with the pictures in <see cref="Images"/>. Fields it does not know are passed over.
/// </summary>
public sealed record ImageEditRequest
{
    /// <summary>Pictures of one request.</summary>
    public const int MaxImages = 16;

    [Description("What to make of the pictures; left out or empty to make them again.")]
    [MaxLength(JobRequest.MaxPromptCharacters)]
    public string? Prompt { get; init; }

    [Description("In JSON: the pictures as data: URIs such as data:image/png;base64,…; nothing else is opened.")]
    [Length(1, MaxImages)]
    public IReadOnlyList<string>? Images { get; init; }

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

    [Description("Ours: how much the pictures guide; 1 or less is not at all (default 1.5, and 3 without a prompt).")]
    [Range(0d, 100d)]
    public float? ImageGuidance { get; init; }

    [Description("Ours: what the picture should not show.")]
    [MaxLength(JobRequest.MaxPromptCharacters)]
    public string? NegativePrompt { get; init; }
}

/// <summary>A picture to send along.</summary>
/// <param name="Name">As lines of a prompt file name it.</param>
/// <param name="Open">Gives its content; disposed of once it is sent.</param>
public sealed record PictureUpload(string Name, Func<Stream> Open);
