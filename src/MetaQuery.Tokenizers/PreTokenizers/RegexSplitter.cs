using System.Globalization;
using System.Text.RegularExpressions;

namespace MetaQuery.Tokenizers.PreTokenizers;

/// <summary>What becomes of the delimiter in a Hugging Face <c>Split</c>.</summary>
internal enum SplitBehavior
{
    Isolated,
    Removed,
    MergedWithPrevious,
    MergedWithNext,
    Contiguous,
}

/// <summary>
/// Any pattern, by .NET's regular expressions. These see UTF-16 units, the reference sees code points: each code point beyond the basic plane
/// is stood in for by one basic character of its general category, so that <c>\p{L}</c> and the like mean the same.
/// </summary>
internal sealed class RegexSplitter(string pattern, SplitBehavior behavior = SplitBehavior.Isolated, bool invert = false) : PreTokenizer
{
    private static readonly Lazy<Dictionary<UnicodeCategory, char>> StandIns = new(MakeStandIns);
    private readonly Regex regex = Compile(pattern);

    public override void Split(ReadOnlySpan<char> text, int offset, List<(int Start, int Length)> pieces)
    {
        if (text.IndexOfAnyInRange('\uD800', '\uDFFF') < 0)
        {
            SplitBasic(text, null, offset, pieces);
            return;
        }

        var basic = new char[text.Length];
        var starts = new int[text.Length + 1];
        var count = 0;
        for (var index = 0; index < text.Length; count++)
        {
            starts[count] = index;
            var isPair = char.IsHighSurrogate(text[index]) && index + 1 < text.Length && char.IsLowSurrogate(text[index + 1]);
            basic[count] = isPair
                ? StandIns.Value.GetValueOrDefault(CharUnicodeInfo.GetUnicodeCategory(char.ConvertToUtf32(text[index], text[index + 1])), '\uFFFD')
                : char.IsSurrogate(text[index]) ? '\uFFFD' : text[index];
            index += isPair ? 2 : 1;
        }

        starts[count] = text.Length;
        SplitBasic(basic.AsSpan(0, count), starts, offset, pieces);
    }

    private void SplitBasic(ReadOnlySpan<char> text, int[]? starts, int offset, List<(int Start, int Length)> pieces)
    {
        // (start, end, is delimiter), tiling the text
        var parts = new List<(int Start, int End, bool IsDelimiter)>();
        var position = 0;
        foreach (var match in regex.EnumerateMatches(text))
        {
            if (match.Index > position)
            {
                parts.Add((position, match.Index, invert));
            }

            if (match.Length > 0)
            {
                parts.Add((match.Index, match.Index + match.Length, !invert));
            }

            position = match.Index + match.Length;
        }

        if (position < text.Length)
        {
            parts.Add((position, text.Length, invert));
        }

        foreach (var (start, end) in Merge(parts))
        {
            var (from, to) = starts is null ? (start, end) : (starts[start], starts[end]);
            pieces.Add((from + offset, to - from));
        }
    }

    private IEnumerable<(int Start, int End)> Merge(List<(int Start, int End, bool IsDelimiter)> parts)
    {
        for (var index = 0; index < parts.Count; index++)
        {
            var (start, end, isDelimiter) = parts[index];
            var isNextDelimiter = index + 1 < parts.Count && parts[index + 1].IsDelimiter;
            switch (behavior)
            {
                case SplitBehavior.Removed when isDelimiter:
                    continue;
                case SplitBehavior.MergedWithPrevious when !isDelimiter && isNextDelimiter:
                case SplitBehavior.MergedWithNext when isDelimiter && index + 1 < parts.Count && !isNextDelimiter:
                    end = parts[++index].End;
                    break;
                case SplitBehavior.Contiguous:
                    while (index + 1 < parts.Count && parts[index + 1].IsDelimiter == isDelimiter)
                    {
                        end = parts[++index].End;
                    }

                    break;
            }

            yield return (start, end);
        }
    }

    private static Regex Compile(string pattern)
    {
        try
        {
            return new Regex(pattern, RegexOptions.CultureInvariant, TimeSpan.FromSeconds(60));
        }
        catch (ArgumentException error)
        {
            throw new TokenizerException($"pre_tokenizer pattern {pattern} is not one .NET's regular expressions can read: {error.Message}", error);
        }
    }

    private static Dictionary<UnicodeCategory, char> MakeStandIns()
    {
        var found = new Dictionary<UnicodeCategory, char>();
        for (var point = 0xFFFF; point > 0xFF; point--) // from the end: the rarest, which no pattern names
        {
            found.TryAdd(CharUnicodeInfo.GetUnicodeCategory((char)point), (char)point);
        }

        return found;
    }
}
