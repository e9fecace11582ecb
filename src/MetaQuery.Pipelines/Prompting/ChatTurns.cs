using System.Text.RegularExpressions;
using MetaQuery.Tokenizers;

namespace MetaQuery.Pipelines.Prompting;

/// <summary>Turns in the form that a template wants: text, or a list of parts.</summary>
public sealed partial class ChatTurns(ChatTemplate template)
{
    private readonly bool _wantsParts = LoopOverContent().IsMatch(template.Source);

    public ChatTemplate Template { get; } = template;

    /// <param name="isTrusted">Whether control tokens in the text count: never for what a user wrote.</param>
    /// <param name="images">How many pictures stand before the text.</param>
    /// <exception cref="PipelineException">The template has no place for pictures.</exception>
    public ChatMessage Turn(string role, string text, bool isTrusted, int images = 0)
    {
        if (_wantsParts)
            return ChatMessage.OfParts(role, [.. Enumerable.Repeat(ChatPart.Image, images), ChatPart.Text(text, isTrusted)]);
        return images == 0 ? ChatMessage.OfText(role, text, isTrusted)
            : throw new PipelineException($"the model's chat template has no place for the {images} image{(images == 1 ? "" : "s")} of a turn");
    }

    /// <inheritdoc cref="Turn(string, string, bool, int)"/>
    public ChatMessage Turn(ChatTurn turn, bool isTrusted)
    {
        ArgumentNullException.ThrowIfNull(turn);
        if (_wantsParts)
            return ChatMessage.OfParts(turn.Role, [.. turn.Parts.Select(part => part.Image is null ? ChatPart.Text(part.Text!, isTrusted) : ChatPart.Image)]);
        return Turn(turn.Role, string.Concat(turn.Parts.Select(part => part.Text)), isTrusted, turn.Images.Count());
    }

    // Vision models' templates walk through message['content'].
    [GeneratedRegex(@"\bin\s+\w+(?:\[['""]content['""]\]|\.content\b)", RegexOptions.CultureInvariant | RegexOptions.ExplicitCapture, matchTimeoutMilliseconds: 1000)]
    private static partial Regex LoopOverContent();
}
