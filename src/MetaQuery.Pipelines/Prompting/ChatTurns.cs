using System.Text.RegularExpressions;
using MetaQuery.Tokenizers;

namespace MetaQuery.Pipelines.Prompting;

/// <summary>Turns in the form that a template wants: text, or a list of parts.</summary>
public sealed partial class ChatTurns(ChatTemplate template)
{
    private readonly bool _wantsParts = LoopOverContent().IsMatch(template.Source);

    public ChatTemplate Template { get; } = template;

    /// <param name="isTrusted">Whether control tokens in the text count: never for what a user wrote.</param>
    public ChatMessage Turn(string role, string text, bool isTrusted) =>
        _wantsParts ? ChatMessage.OfParts(role, ChatPart.Text(text, isTrusted)) : ChatMessage.OfText(role, text, isTrusted);

    // Vision models' templates walk through message['content'].
    [GeneratedRegex(@"\bin\s+\w+(?:\[['""]content['""]\]|\.content\b)", RegexOptions.CultureInvariant | RegexOptions.ExplicitCapture, matchTimeoutMilliseconds: 1000)]
    private static partial Regex LoopOverContent();
}
