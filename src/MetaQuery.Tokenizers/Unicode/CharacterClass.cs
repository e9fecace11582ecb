using System.Globalization;

namespace MetaQuery.Tokenizers.Unicode;

/// <summary>What the pre-tokenisers' patterns tell apart.</summary>
internal enum CharacterClass : byte
{
    Other, // [^\s\p{L}\p{N}]
    Letter, // \p{L}
    Number, // \p{N}
    Space, // \s without line ends
    LineEnd, // [\r\n]
}

internal static class CharacterClasses
{
    private static readonly CharacterClass[] Basic = MakeBasic();

    /// <summary>Class of the code point at <paramref name="index"/>, and its length in chars. An unpaired surrogate is U+FFFD, thus <see cref="CharacterClass.Other"/>.</summary>
    public static CharacterClass At(ReadOnlySpan<char> text, int index, out int length)
    {
        var letter = text[index];
        length = 1;
        if (!char.IsHighSurrogate(letter) || index + 1 >= text.Length || !char.IsLowSurrogate(text[index + 1]))
        {
            return Basic[letter];
        }

        length = 2;
        return Of(CharUnicodeInfo.GetUnicodeCategory(char.ConvertToUtf32(letter, text[index + 1])));
    }

    public static CharacterClass Of(UnicodeCategory category) => category switch
    {
        <= UnicodeCategory.OtherLetter => CharacterClass.Letter,
        UnicodeCategory.DecimalDigitNumber or UnicodeCategory.LetterNumber or UnicodeCategory.OtherNumber => CharacterClass.Number,
        UnicodeCategory.SpaceSeparator or UnicodeCategory.LineSeparator or UnicodeCategory.ParagraphSeparator => CharacterClass.Space,
        _ => CharacterClass.Other,
    };

    private static CharacterClass[] MakeBasic()
    {
        var classes = new CharacterClass[65536];
        for (var point = 0; point < classes.Length; point++)
        {
            classes[point] = (char)point switch
            {
                '\r' or '\n' => CharacterClass.LineEnd,
                '\t' or '\v' or '\f' or '\u0085' => CharacterClass.Space,
                var letter => Of(CharUnicodeInfo.GetUnicodeCategory(letter)),
            };
        }

        return classes;
    }
}
