using System.Globalization;

namespace MetaQuery.Imaging;

/// <summary>
/// Draws short texts: the printable ASCII characters of the X Window System's misc-fixed 6×13 font ("Public domain font. Share and enjoy."),
/// set proportionally. Other characters are replaced by their nearest in ASCII, or by a question mark.
/// </summary>
internal static class BitmapFont
{
    /// <summary>From one baseline to the next.</summary>
    public const int LineHeightPixels = 15;

    private const int GlyphHeightPixels = 13;
    private const int CellWidthPixels = 6;
    private const int SpaceWidthPixels = 4;
    private const int LetterGapPixels = 1;

    /// <summary>Thirteen rows of six bits, in hexadecimal, the leftmost pixel in the highest bit.</summary>
    private static readonly string[] Rows =
    [
        "00000000000000000000000000", // space
        "00000008080808080800080000", // !
        "00000014141400000000000000", // "
        "0000000014143E143E14140000", // #
        "000000081E28281C0A0A3C0800", // $
        "0000122A14040810142A240000", // %
        "000000102828102826241A0000", // &
        "0000000C081000000000000000", // '
        "00000004081010101008040000", // (
        "00000010080404040408100000", // )
        "000000082A1C081C2A08000000", // *
        "0000000008083E080800000000", // +
        "0000000000000000000C081000", // ,
        "000000000000003E0000000000", // -
        "0000000000000000000C0C0000", // .
        "00000002020404081010202000", // /
        "00000008142222222214080000", // 0
        "000000081828080808083E0000", // 1
        "0000001C2202040810203E0000", // 2
        "0000001C22020C0202221C0000", // 3
        "000000040C1424243E04040000", // 4
        "0000003E203C220202221C0000", // 5
        "0000000E10203C2222221C0000", // 6
        "0000003E020404080810100000", // 7
        "0000001C22221C2222221C0000", // 8
        "0000001C2222221E0204380000", // 9
        "00000000000C0C00000C0C0000", // :
        "00000000000C0C00000C081000", // ;
        "00000204081020100804020000", // <
        "00000000003E00003E00000000", // =
        "00002010080402040810200000", // >
        "0000001C220204080800080000", // ?
        "0000001C22262A2A2C201E0000", // @
        "000000081422223E2222220000", // A
        "0000003C22223C2222223C0000", // B
        "0000001C2220202020221C0000", // C
        "0000003C2222222222223C0000", // D
        "0000003E20203C2020203E0000", // E
        "0000003E20203C202020200000", // F
        "0000001C2220202622221C0000", // G
        "0000002222223E222222220000", // H
        "0000001C0808080808081C0000", // I
        "00000004040404040424180000", // J
        "00000022222428382422220000", // K
        "000000202020202020203E0000", // L
        "00000022362A2A222222220000", // M
        "0000002232322A2A2626220000", // N
        "0000001C2222222222221C0000", // O
        "0000003C2222223C2020200000", // P
        "0000001C22222222222A1C0200", // Q
        "0000003C2222223C2824220000", // R
        "0000001C2220180402221C0000", // S
        "0000003E080808080808080000", // T
        "000000222222222222221C0000", // U
        "00000022222214141408080000", // V
        "00000022222A2A2A2A36140000", // W
        "00000022221408081422220000", // X
        "00000022221414080808080000", // Y
        "0000003E0204080810203E0000", // Z
        "0000001C1010101010101C0000", // [
        "00000020201010080404020200", // \
        "0000001C0404040404041C0000", // ]
        "00000814220000000000000000", // ^
        "00000000000000000000003E00", // _
        "00000018080400000000000000", // `
        "00000000001C021E22261A0000", // a
        "00000020202C322222322C0000", // b
        "00000000001C222020221C0000", // c
        "00000002021A262222261A0000", // d
        "00000000001C223E20201C0000", // e
        "0000000C1210103C1010100000", // f
        "00000000021C22221C201C221C", // g
        "00000020202C32222222220000", // h
        "000000080018080808081C0000", // i
        "00000004000C04040404242418", // j
        "00000020202428302824220000", // k
        "000000180808080808081C0000", // l
        "0000000000342A2A2A2A220000", // m
        "00000000002C32222222220000", // n
        "00000000001C222222221C0000", // o
        "00000000002C322222322C2020", // p
        "00000000001A262222261A0202", // q
        "00000000002C32202020200000", // r
        "00000000001C221804221C0000", // s
        "00000010103C101010120C0000", // t
        "000000000022222222261A0000", // u
        "00000000002222221414080000", // v
        "000000000022222A2A2A140000", // w
        "00000000002214080814220000", // x
        "0000000000222222261A020438", // y
        "00000000003E040810203E0000", // z
        "00000006080808300808080600", // {
        "00000008080808080808080800", // |
        "00000030080808060808083000", // }
        "0000122A240000000000000000", // ~
    ];

    private static readonly Glyph[] Glyphs = [.. Rows.Select(MakeGlyph)];

    /// <summary>Width of a text of one line.</summary>
    public static int MeasurePixels(ReadOnlySpan<char> text)
    {
        int width = 0;
        foreach (char letter in text)
        {
            width += Find(letter).AdvancePixels;
        }

        return Math.Max(0, width - LetterGapPixels);
    }

    /// <summary>Draws a text of one line; what lies outside the picture is left out.</summary>
    public static void Draw(RgbImage target, int left, int top, ReadOnlySpan<char> text, byte grey)
    {
        foreach (char letter in text)
        {
            Glyph glyph = Find(letter);
            for (int y = 0; y < GlyphHeightPixels; y++)
            {
                for (int x = 0; x < CellWidthPixels; x++)
                {
                    bool set = (glyph.Rows[y] & (1 << (CellWidthPixels - 1 - x))) != 0;
                    (int toX, int toY) = (left + x, top + y);
                    if (set && toX >= 0 && toX < target.WidthPixels && toY >= 0 && toY < target.HeightPixels)
                    {
                        target.Row(toY).Slice(toX * 3, 3).Fill(grey);
                    }
                }
            }

            left += glyph.AdvancePixels;
        }
    }

    /// <summary>Breaks a text at its spaces into lines that fit; what does not fit into the last line ends in three dots.</summary>
    public static IReadOnlyList<string> Wrap(string text, int widthPixels, int maxLines)
    {
        string rest = Simplify(text);
        var lines = new List<string>();
        while (rest.Length > 0 && lines.Count < maxLines)
        {
            bool last = lines.Count == maxLines - 1;
            int fitting = Fitting(rest, widthPixels);
            if (fitting == rest.Length)
            {
                lines.Add(rest);
                break;
            }

            if (last)
            {
                int kept = Math.Max(1, Fitting(rest, widthPixels - MeasurePixels("...") - LetterGapPixels));
                lines.Add(rest[..kept].TrimEnd() + "...");
                break;
            }

            int space = rest.LastIndexOf(' ', fitting); // the space itself may stand outside
            int cut = space > 0 ? space : Math.Max(1, fitting);
            lines.Add(rest[..cut]);
            rest = rest[cut..].TrimStart();
        }

        return lines;
    }

    /// <summary>One line of printable ASCII.</summary>
    internal static string Simplify(string text)
    {
        var simple = new System.Text.StringBuilder(text.Length);
        foreach (System.Text.Rune rune in text.EnumerateRunes())
        {
            if (System.Text.Rune.IsWhiteSpace(rune) || System.Text.Rune.IsControl(rune))
            {
                if (simple.Length > 0 && simple[^1] != ' ')
                {
                    simple.Append(' ');
                }
            }
            else if (rune.IsAscii)
            {
                simple.Append((char)rune.Value);
            }
            else if (System.Text.Rune.GetUnicodeCategory(rune) is not (UnicodeCategory.NonSpacingMark or UnicodeCategory.Format))
            {
                simple.Append(Nearest(rune.Value));
            }
        }

        return simple.ToString().Trim();
    }

    private static string Nearest(int value) => value switch
    {
        >= 0xC0 and <= 0xFF => Latin[value - 0xC0],
        0x2018 or 0x2019 or 0xB4 => "'",
        0x201C or 0x201D or 0xAB or 0xBB => "\"",
        >= 0x2010 and <= 0x2015 => "-",
        0x2026 => "...",
        0x152 => "OE",
        0x153 => "oe",
        _ => "?",
    };

    private static readonly string[] Latin =
    [
        "A", "A", "A", "A", "A", "A", "AE", "C", "E", "E", "E", "E", "I", "I", "I", "I", "D", "N", "O", "O", "O", "O", "O", "x", "O", "U", "U", "U", "U", "Y", "Th", "ss",
        "a", "a", "a", "a", "a", "a", "ae", "c", "e", "e", "e", "e", "i", "i", "i", "i", "d", "n", "o", "o", "o", "o", "o", "/", "o", "u", "u", "u", "u", "y", "th", "y",
    ];

    private static int Fitting(string text, int widthPixels)
    {
        int width = 0;
        for (int i = 0; i < text.Length; i++)
        {
            width += Find(text[i]).AdvancePixels;
            if (width - LetterGapPixels > widthPixels)
            {
                return i;
            }
        }

        return text.Length;
    }

    private static Glyph Find(char letter) => Glyphs[(letter is >= ' ' and <= '~' ? letter : '?') - ' '];

    private static Glyph MakeGlyph(string hex)
    {
        byte[] rows = Convert.FromHexString(hex);
        int ink = 0;
        foreach (byte row in rows)
        {
            ink |= row;
        }

        if (ink == 0)
        {
            return new Glyph(rows, SpaceWidthPixels);
        }

        int left = CellWidthPixels - 1 - System.Numerics.BitOperations.Log2((uint)ink);
        int right = CellWidthPixels - System.Numerics.BitOperations.TrailingZeroCount(ink);
        return new Glyph([.. rows.Select(row => (byte)(row << left))], right - left + LetterGapPixels);
    }

    private readonly record struct Glyph(byte[] Rows, int AdvancePixels);
}
