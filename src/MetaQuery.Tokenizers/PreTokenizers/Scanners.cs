using MetaQuery.Tokenizers.Unicode;

namespace MetaQuery.Tokenizers.PreTokenizers;

/// <summary>Each number character (categories Nd, Nl, No) alone, all else between them together: <c>Digits(individual_digits)</c>.</summary>
internal sealed class IndividualDigitsScanner : Scanner
{
    protected override int PieceEnd(ReadOnlySpan<char> text, int start)
    {
        if (CharacterClasses.At(text, start, out var length) == CharacterClass.Number)
        {
            return start + length;
        }

        var end = start;
        while (end < text.Length && CharacterClasses.At(text, end, out length) != CharacterClass.Number)
        {
            end += length;
        }

        return end;
    }
}

/// <summary>GPT-2's pattern (openai/gpt-2 encoder.py), by hand: ten times as fast as the regular expression.</summary>
internal sealed class Gpt2Scanner : Scanner
{
    public const string Pattern = @"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";

    protected override int PieceEnd(ReadOnlySpan<char> text, int start)
    {
        if (text[start] == '\'' && Contraction.Length(text, start, ignoreCase: false) is > 0 and var contraction)
        {
            return start + contraction;
        }

        var body = start + (text[start] == ' ' && start + 1 < text.Length ? 1 : 0);
        var kind = CharacterClasses.At(text, body, out _);
        return kind is CharacterClass.Space or CharacterClass.LineEnd
            ? Runs.WhiteSpaceEnd(text, start)
            : Runs.EndOf(kind, text, body);
    }
}

/// <summary>The pattern of GPT-4, Llama 3 (numbers by three) and Qwen2 (one by one), by hand.</summary>
/// <param name="maximumNumberLength">n of <c>\p{N}{1,n}</c>.</param>
internal sealed class QwenScanner(int maximumNumberLength) : Scanner
{
    public const string OneDigitPattern =
        @"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

    public const string ThreeDigitsPattern =
        @"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

    protected override int PieceEnd(ReadOnlySpan<char> text, int start)
    {
        if (text[start] == '\'' && Contraction.Length(text, start, ignoreCase: true) is > 0 and var contraction)
        {
            return start + contraction;
        }

        var kind = CharacterClasses.At(text, start, out var length);
        var after = start + length;
        if (kind == CharacterClass.Letter)
        {
            return Runs.EndOf(CharacterClass.Letter, text, after);
        }

        if (kind == CharacterClass.Number)
        {
            for (var count = 1; count < maximumNumberLength && after < text.Length; count++, after += length)
            {
                if (CharacterClasses.At(text, after, out length) != CharacterClass.Number)
                {
                    break;
                }
            }

            return after;
        }

        var next = after < text.Length ? CharacterClasses.At(text, after, out _) : CharacterClass.LineEnd;
        if (kind != CharacterClass.LineEnd && next == CharacterClass.Letter)
        {
            return Runs.EndOf(CharacterClass.Letter, text, after);
        }

        var isSpaceBeforeOther = text[start] == ' ' && after < text.Length && next == CharacterClass.Other;
        if (kind != CharacterClass.Other && !isSpaceBeforeOther)
        {
            return WhiteSpaceEnd(text, start);
        }

        var end = Runs.EndOf(CharacterClass.Other, text, isSpaceBeforeOther ? after : start);
        return Runs.EndOf(CharacterClass.LineEnd, text, end);
    }

    // \s*[\r\n]+ first: up to the last line end of the run.
    private static int WhiteSpaceEnd(ReadOnlySpan<char> text, int start)
    {
        var end = start;
        var afterLineEnd = -1;
        for (; end < text.Length; end++)
        {
            var kind = CharacterClasses.At(text, end, out _);
            if (kind == CharacterClass.LineEnd)
            {
                afterLineEnd = end + 1;
            }
            else if (kind != CharacterClass.Space)
            {
                break;
            }
        }

        return afterLineEnd > 0 ? afterLineEnd : Runs.LeaveOneBeforeText(text, start, end);
    }
}

internal static class Runs
{
    public static int EndOf(CharacterClass kind, ReadOnlySpan<char> text, int index)
    {
        while (index < text.Length && CharacterClasses.At(text, index, out var length) == kind)
        {
            index += length;
        }

        return index;
    }

    // \s+(?!\S)|\s+
    public static int WhiteSpaceEnd(ReadOnlySpan<char> text, int start)
    {
        var end = start;
        while (end < text.Length && CharacterClasses.At(text, end, out _) is CharacterClass.Space or CharacterClass.LineEnd)
        {
            end++; // no white space lies beyond the basic plane
        }

        return LeaveOneBeforeText(text, start, end);
    }

    public static int LeaveOneBeforeText(ReadOnlySpan<char> text, int start, int end) => end < text.Length && end - start > 1 ? end - 1 : end;
}

internal static class Contraction
{
    /// <summary>Length of 's, 't, 're, 've, 'm, 'll or 'd at an apostrophe, or 0.</summary>
    public static int Length(ReadOnlySpan<char> text, int start, bool ignoreCase)
    {
        var first = Letter(text, start + 1, ignoreCase);
        var second = Letter(text, start + 2, ignoreCase);
        return (first, second) switch
        {
            ('s' or 't' or 'm' or 'd', _) => 2,
            ('r' or 'v', 'e') or ('l', 'l') => 3,
            _ => 0,
        };
    }

    private static char Letter(ReadOnlySpan<char> text, int index, bool ignoreCase)
    {
        var letter = index < text.Length ? text[index] : '\0';
        return !ignoreCase ? letter : letter == '\u017F' ? 's' : char.IsAsciiLetterUpper(letter) ? (char)(letter | 0x20) : letter; // U+017F folds to s
    }
}
