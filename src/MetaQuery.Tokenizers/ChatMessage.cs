namespace MetaQuery.Tokenizers;

/// <summary>One turn of a conversation, as chat templates expect it: a role, and a content of text or of parts.</summary>
public sealed class ChatMessage
{
    private ChatMessage(string role, string? text, bool isTrusted, IReadOnlyList<ChatPart>? parts) =>
        (Role, Text, IsTrusted, Parts) = (role, text, isTrusted, parts);

    /// <summary>For instance system, user, assistant.</summary>
    public string Role { get; }

    /// <summary>The content where it is plain text, else null.</summary>
    public string? Text { get; }

    /// <summary>Whether control tokens in <see cref="Text"/> count.</summary>
    public bool IsTrusted { get; }

    /// <summary>The content where it is a list of parts, else null.</summary>
    public IReadOnlyList<ChatPart>? Parts { get; }

    /// <summary>A turn whose <c>content</c> is a string. Text is untrusted unless it is said to be otherwise.</summary>
    public static ChatMessage OfText(string role, string text, bool isTrusted = false) => new(role, text, isTrusted, null);

    /// <summary>A turn whose <c>content</c> is a list of parts, as vision models' templates expect.</summary>
    public static ChatMessage OfParts(string role, params IReadOnlyList<ChatPart> parts) => new(role, null, false, parts);
}

/// <summary>A part of a turn: <c>{"type": "text", "text": …}</c>, or a picture or video, of which a template writes only the place.</summary>
/// <param name="Type">text, image or video.</param>
/// <param name="Content">The text of a text part, else null.</param>
/// <param name="IsTrusted">Whether control tokens in the text count.</param>
public sealed record ChatPart(string Type, string? Content, bool IsTrusted)
{
    public static ChatPart Image { get; } = new("image", null, IsTrusted: false);

    public static ChatPart Video { get; } = new("video", null, IsTrusted: false);

    public static ChatPart Text(string text, bool isTrusted = false) => new("text", text, isTrusted);
}
