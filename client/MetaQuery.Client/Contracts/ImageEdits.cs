using System.ComponentModel;
using System.ComponentModel.DataAnnotations;
using System.Text.Json.Serialization;

namespace MetaQuery.Client;

/// <summary>
/// What <c>POST /v1/images/edits</c> takes: OpenAI's fields, and a few of our own, as multipart/form-data with the pictures as parts named <c>image</c> or
/// <c>image[]</c>, or as JSON with the pictures in <see cref="Images"/>. Fields it does not know are passed over.
/// </summary>
public sealed record ImageEditRequest : ImageSettings
{
    /// <summary>Pictures of one request.</summary>
    public const int MaxImages = 16;

    [Description("What to make of the pictures; left out or empty to make them again.")]
    [MaxLength(JobRequest.MaxPromptCharacters)]
    [JsonPropertyOrder(Before)]
    public string? Prompt { get; init; }

    [Description("In JSON: the pictures as data: URIs such as data:image/png;base64,…; nothing else is opened.")]
    [Length(1, MaxImages)]
    [JsonPropertyOrder(Before)]
    public IReadOnlyList<string>? Images { get; init; }

    [Description("Ours: how much the pictures guide; 1 or less is not at all (default 1.5, and 3 without a prompt).")]
    [Range(0d, 100d)]
    [JsonPropertyOrder(Behind)]
    public float? ImageGuidance { get; init; }
}

/// <summary>A picture to send along.</summary>
/// <param name="Name">As lines of a prompt file name it.</param>
/// <param name="Open">Gives its content; disposed of once it is sent.</param>
public sealed record PictureUpload(string Name, Func<Stream> Open);
