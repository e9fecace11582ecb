using System.ComponentModel;
using System.ComponentModel.DataAnnotations;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace MetaQuery.Client;

/// <summary>What <c>POST /v1/chat/completions</c> takes: OpenAI's fields. What would change an answer and is not built is refused; other fields are passed over.</summary>
public sealed record ChatRequest
{
    /// <summary>Most turns of a conversation.</summary>
    public const int MaxMessages = 1000;

    [Description("The conversation so far, oldest first; the answer is the turn behind it.")]
    [Required]
    [Length(1, MaxMessages)]
    public required IReadOnlyList<ChatMessage> Messages { get; init; }

    [Description("The farm's model, or one of OpenAI's names, which stand for it.")]
    [MaxLength(200)]
    public string? Model { get; init; }

    [Description("Whether the answer comes in pieces, as server-sent events that end with [DONE].")]
    public bool? Stream { get; init; }

    public ChatStreamOptions? StreamOptions { get; init; }

    [Description("0, the default, takes the likeliest token each time; above it tokens are drawn.")]
    [Range(0d, 2d)]
    public double? Temperature { get; init; }

    [Description("Tokens are drawn among the likeliest that together reach this probability.")]
    [Range(0.001, 1d)]
    public double? TopP { get; init; }

    [Description("Longest answer in tokens; 512 where neither this nor max_completion_tokens is stated.")]
    [Range(1, 1_000_000)]
    public int? MaxTokens { get; init; }

    [Description("The newer name of max_tokens, before which it goes.")]
    [Range(1, 1_000_000)]
    public int? MaxCompletionTokens { get; init; }

    [Description("A text or up to four, before which the answer ends.")]
    public ChatStop? Stop { get; init; }

    [Description("Of the drawing: the same request with the same seed has the same answer. Without one every request draws anew.")]
    public long? Seed { get; init; }

    [Description("One answer is given.")]
    [Range(1, 1)]
    public int? N { get; init; }

    [Description("An end user's name: kept with nothing.")]
    [MaxLength(512)]
    public string? User { get; init; }

    [Description("Not built: only 0 is taken.")]
    [Range(0d, 0d)]
    public double? FrequencyPenalty { get; init; }

    [Description("Not built: only 0 is taken.")]
    [Range(0d, 0d)]
    public double? PresencePenalty { get; init; }

    [Description("Not built: only false is taken.")]
    [AllowedValues(false)]
    public bool? Logprobs { get; init; }
}

/// <summary>A turn of a conversation.</summary>
public sealed record ChatMessage
{
    [Required]
    [AllowedValues("system", "developer", "user", "assistant")]
    public required string Role { get; init; }

    [Required]
    public required ChatContent Content { get; init; }

    [Description("Taken for compatibility; without effect.")]
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public string? Name { get; init; }
}

/// <summary>What a turn says: a text, or a list of texts and pictures.</summary>
[JsonConverter(typeof(ChatContentConverter))]
public sealed record ChatContent(IReadOnlyList<ChatContentPart> Parts)
{
    public static implicit operator ChatContent(string text) => FromString(text);

    public static ChatContent FromString(string text) => new([ChatContentPart.OfText(text)]);
}

/// <param name="Type">text or image_url.</param>
public sealed record ChatContentPart(
    string? Type,
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] string? Text = null,
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] ChatImageUrl? ImageUrl = null)
{
    public static ChatContentPart OfText(string text) => new("text", text);

    /// <param name="file">PNG, JPEG, WebP or what else the farm reads.</param>
    /// <param name="mediaType">Such as image/png.</param>
    public static ChatContentPart OfImage(ReadOnlySpan<byte> file, string mediaType = "image/png") =>
        new("image_url", ImageUrl: new ChatImageUrl($"data:{mediaType};base64,{Convert.ToBase64String(file)}"));
}

/// <param name="Url">A data URI: nothing is fetched, and no path is read.</param>
/// <param name="Detail">Taken for compatibility; without effect.</param>
public sealed record ChatImageUrl(string? Url, [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] string? Detail = null);

/// <param name="IncludeUsage">Whether a last chunk states the usage.</param>
public sealed record ChatStreamOptions(bool? IncludeUsage = null);

/// <summary>Texts before which an answer ends.</summary>
[JsonConverter(typeof(ChatStopConverter))]
public sealed record ChatStop(IReadOnlyList<string> Texts)
{
    /// <summary>Most of them.</summary>
    public const int Most = 4;
}

/// <param name="Created">Seconds since 1970.</param>
/// <param name="SystemFingerprint">Of weights and numerics: while it stays, so do answers.</param>
public sealed record ChatResponse(string Id, string Object, long Created, string Model, IReadOnlyList<ChatChoice> Choices, ChatUsage Usage, string SystemFingerprint);

/// <param name="FinishReason">stop or length.</param>
public sealed record ChatChoice(int Index, ChatAnswer Message, string FinishReason);

public sealed record ChatAnswer(string Role, string Content);

/// <summary>Tokens that went in, pictures' among them, and came out.</summary>
public sealed record ChatUsage(int PromptTokens, int CompletionTokens, int TotalTokens);

/// <summary>A piece of a streamed answer.</summary>
/// <param name="Usage">In the last chunk where it was asked for, whose choices are empty.</param>
public sealed record ChatChunk(
    string Id, string Object, long Created, string Model, IReadOnlyList<ChatChunkChoice> Choices, string SystemFingerprint,
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] ChatUsage? Usage = null);

/// <param name="FinishReason">stop or length in the last piece, else null.</param>
public sealed record ChatChunkChoice(int Index, ChatDelta Delta, string? FinishReason);

/// <param name="Role">In the first piece.</param>
public sealed record ChatDelta(
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] string? Role,
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] string? Content);

/// <summary>A text stands for a list of one.</summary>
internal sealed class ChatContentConverter : JsonConverter<ChatContent>
{
    public override ChatContent? Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options) => reader.TokenType == JsonTokenType.String
        ? ChatContent.FromString(reader.GetString()!)
        : JsonSerializer.Deserialize(ref reader, FarmJson.Default.IReadOnlyListChatContentPart) is { } parts ? new ChatContent(parts) : null;

    public override void Write(Utf8JsonWriter writer, ChatContent value, JsonSerializerOptions options)
    {
        if (value.Parts is [{ Type: "text", Text: { } text }])
        {
            writer.WriteStringValue(text);
            return;
        }

        JsonSerializer.Serialize(writer, value.Parts, FarmJson.Default.IReadOnlyListChatContentPart);
    }
}

/// <summary>A text stands for a list of one.</summary>
internal sealed class ChatStopConverter : JsonConverter<ChatStop>
{
    public override ChatStop? Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options) => reader.TokenType == JsonTokenType.String
        ? new ChatStop([reader.GetString()!])
        : JsonSerializer.Deserialize(ref reader, FarmJson.Default.IReadOnlyListString) is { } texts ? new ChatStop(texts) : null;

    public override void Write(Utf8JsonWriter writer, ChatStop value, JsonSerializerOptions options) =>
        JsonSerializer.Serialize(writer, value.Texts, FarmJson.Default.IReadOnlyListString);
}
