using System.Buffers;
using System.Globalization;

namespace MetaQuery.Tokenizers.Bpe;

/// <summary>Finds added tokens in text: leftmost, then longest, with the flags' rules (Hugging Face tokenizers 0.21, added_vocabulary.rs).</summary>
internal sealed class AddedTokenMatcher
{
    private readonly Dictionary<string, AddedToken> byPattern = [];
    private readonly Dictionary<char, int[]> lengthsLongestFirst;
    private readonly SearchValues<char> firstLetters;

    /// <summary>Indexes the tokens by their first letter and length.</summary>
    /// <param name="tokens">Tokens with the text they are matched by (normalised or as given).</param>
    public AddedTokenMatcher(IEnumerable<(string Pattern, AddedToken Token)> tokens)
    {
        foreach (var (pattern, token) in tokens.Where(t => t.Pattern.Length > 0))
        {
            byPattern.TryAdd(pattern, token with { Content = pattern });
        }

        lengthsLongestFirst = byPattern.Keys.GroupBy(p => p[0]).ToDictionary(
            g => g.Key, g => g.Select(p => p.Length).Distinct().OrderDescending().ToArray());
        firstLetters = SearchValues.Create([.. lengthsLongestFirst.Keys]);
    }

    public bool IsEmpty => byPattern.Count == 0;

    /// <summary>The matches in order, with the white space they swallow.</summary>
    /// <param name="text">The text.</param>
    /// <param name="isTrusted">Whether a letter may be part of a token; null: every letter may.</param>
    public List<(int Start, int End, int Id)> Find(ReadOnlySpan<char> text, ReadOnlySpan<bool> isTrusted)
    {
        var matches = new List<(int Start, int End, int Id)>();
        var position = 0;
        var consumed = 0;
        while (position < text.Length)
        {
            var offset = text[position..].IndexOfAny(firstLetters);
            if (offset < 0)
            {
                break;
            }

            position += offset;
            var token = LongestAt(text, position, isTrusted);
            if (token is null)
            {
                position++;
                continue;
            }

            var (start, end) = (position, position + token.Content.Length);
            position = end;
            if (token.IsSingleWord && (TouchesWord(text, start - 1) || TouchesWord(text, end)))
            {
                continue;
            }

            while (token.StripLeft && start > consumed && char.IsWhiteSpace(text[start - 1]))
            {
                start--;
            }

            while (token.StripRight && end < text.Length && char.IsWhiteSpace(text[end]))
            {
                end++;
            }

            // A token that begins inside white space swallowed by the one before it starts where that ended.
            start = Math.Max(start, consumed);
            matches.Add((start, end, token.Id));
            consumed = end;
        }

        return matches;
    }

    private AddedToken? LongestAt(ReadOnlySpan<char> text, int position, ReadOnlySpan<bool> isTrusted)
    {
        var lookup = byPattern.GetAlternateLookup<ReadOnlySpan<char>>();
        foreach (var length in lengthsLongestFirst[text[position]])
        {
            if (position + length <= text.Length && lookup.TryGetValue(text.Slice(position, length), out var token)
                && (isTrusted.IsEmpty || !isTrusted.Slice(position, length).Contains(value: false)))
            {
                return token;
            }
        }

        return null;
    }

    // \w of the reference's regex: letters, marks, decimal numbers, connectors.
    private static bool TouchesWord(ReadOnlySpan<char> text, int index) => index >= 0 && index < text.Length
        && CharUnicodeInfo.GetUnicodeCategory(text[index]) is UnicodeCategory.UppercaseLetter or UnicodeCategory.LowercaseLetter
            or UnicodeCategory.TitlecaseLetter or UnicodeCategory.ModifierLetter or UnicodeCategory.OtherLetter or UnicodeCategory.NonSpacingMark
            or UnicodeCategory.SpacingCombiningMark or UnicodeCategory.EnclosingMark or UnicodeCategory.DecimalDigitNumber
            or UnicodeCategory.LetterNumber or UnicodeCategory.ConnectorPunctuation;
}
