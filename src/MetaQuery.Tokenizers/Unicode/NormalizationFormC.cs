using System.Globalization;
using System.Runtime.InteropServices;
using System.Text;

namespace MetaQuery.Tokenizers.Unicode;

/// <summary>
/// Unicode normalisation form C (UAX #15). .NET's own <see cref="string.Normalize()"/> leaves text as it is without ICU, which a bare machine
/// lacks, so the tables are embedded. Linear but for the sorting of each run of combining marks.
/// </summary>
internal static class NormalizationFormC
{
    private const int HangulBase = 0xAC00, LeadBase = 0x1100, VowelBase = 0x1161, TailBase = 0x11A7;
    private const int LeadCount = 19, VowelCount = 21, TailCount = 28, HangulCount = LeadCount * VowelCount * TailCount;
    private static readonly Lazy<Tables> Data = new(Load);

    /// <summary>The text in form C; an unpaired surrogate counts as U+FFFD when anything else has to change.</summary>
    public static string Normalize(string text)
    {
        if (IsSurelyNormalized(text))
        {
            return text;
        }

        var tables = Data.Value;
        var points = new List<int>(text.Length);
        foreach (var rune in text.EnumerateRunes())
        {
            Decompose(rune.Value, tables, points);
        }

        var span = CollectionsMarshal.AsSpan(points);
        SortMarks(span, tables);
        var count = Compose(span, tables);
        var result = new StringBuilder(text.Length);
        Span<char> chars = stackalloc char[2];
        foreach (var point in span[..count])
        {
            result.Append(chars[..new Rune(point).EncodeToUtf16(chars)]);
        }

        return result.ToString();
    }

    private static bool IsSurelyNormalized(string text)
    {
        // Nothing below U+0300 composes with what stands before it, and none of it is a decomposable singleton.
        var first = text.AsSpan().IndexOfAnyExceptInRange('\0', '\u02FF');
        if (first < 0)
        {
            return true;
        }

        var tables = Data.Value;
        foreach (var rune in text.AsSpan(first).EnumerateRunes())
        {
            if (rune.Value >= 0x300 && tables.Suspects.Contains(rune.Value))
            {
                return false;
            }
        }

        return true;
    }

    private static void Decompose(int point, Tables tables, List<int> output)
    {
        if (point < 0xC0)
        {
            output.Add(point);
        }
        else if (point is >= HangulBase and < HangulBase + HangulCount)
        {
            var syllable = point - HangulBase;
            output.Add(LeadBase + (syllable / (VowelCount * TailCount)));
            output.Add(VowelBase + (syllable % (VowelCount * TailCount) / TailCount));
            if (syllable % TailCount != 0)
            {
                output.Add(TailBase + (syllable % TailCount));
            }
        }
        else if (tables.Decompositions.TryGetValue(point, out var parts))
        {
            foreach (var part in parts)
            {
                Decompose(part, tables, output);
            }
        }
        else
        {
            output.Add(point);
        }
    }

    private static void SortMarks(Span<int> points, Tables tables)
    {
        for (var start = 0; start < points.Length; start++)
        {
            var end = start;
            while (end < points.Length && tables.Class(points[end]) != 0)
            {
                end++;
            }

            if (end - start > 1)
            {
                var run = points[start..end];
                var keys = new long[run.Length];
                for (var index = 0; index < run.Length; index++)
                {
                    keys[index] = ((long)tables.Class(run[index]) << 32) | (uint)index; // the index makes the sort stable
                }

                keys.AsSpan().Sort(run);
            }

            start = end;
        }
    }

    private static int Compose(Span<int> points, Tables tables)
    {
        var (count, starter, lastClass) = (0, -1, 0);
        foreach (var point in points)
        {
            var combiningClass = tables.Class(point);
            var isBlocked = starter < 0 || (count - 1 > starter && (lastClass == 0 || lastClass >= combiningClass));
            if (!isBlocked && Pair(points[starter], point, tables) is { } composed)
            {
                points[starter] = composed;
                continue;
            }

            if (combiningClass == 0)
            {
                starter = count;
            }

            lastClass = combiningClass;
            points[count++] = point;
        }

        return count;
    }

    private static int? Pair(int first, int second, Tables tables)
    {
        if (first is >= LeadBase and < LeadBase + LeadCount && second is >= VowelBase and < VowelBase + VowelCount)
        {
            return HangulBase + ((((first - LeadBase) * VowelCount) + second - VowelBase) * TailCount);
        }

        if (first is >= HangulBase and < HangulBase + HangulCount && (first - HangulBase) % TailCount == 0
            && second is > TailBase and < TailBase + TailCount)
        {
            return first + second - TailBase;
        }

        return tables.Compositions.TryGetValue((first, second), out var composed) ? composed : null;
    }

    private static Tables Load()
    {
        var tables = new Tables();
        using var stream = typeof(NormalizationFormC).Assembly.GetManifestResourceStream("nfc.txt")!;
        using var reader = new StreamReader(stream);
        while (reader.ReadLine() is { } line)
        {
            foreach (var entry in line[0] == '#' ? [] : line[2..].Split(';'))
            {
                var equals = entry.IndexOf('=');
                if (line[0] == 'd')
                {
                    var isExcluded = entry[^1] == '!';
                    var parts = entry[(equals + 1)..].TrimEnd('!').Split(' ').Select(Hex).ToArray();
                    tables.Add(Hex(entry[..equals]), parts, isExcluded);
                }
                else
                {
                    var dash = entry.IndexOf('-');
                    for (var point = Hex(entry[..dash]); point <= Hex(entry[(dash + 1)..equals]); point++)
                    {
                        tables.Classes[point] = byte.Parse(entry[(equals + 1)..]);
                        tables.Suspects.Add(point);
                    }
                }
            }
        }

        for (var point = VowelBase; point < TailBase + TailCount; point++)
        {
            tables.Suspects.Add(point);
        }

        return tables;
    }

    private static int Hex(string digits) => int.Parse(digits, NumberStyles.HexNumber);

    private sealed class Tables
    {
        public Dictionary<int, int[]> Decompositions { get; } = [];

        public Dictionary<(int First, int Second), int> Compositions { get; } = [];

        public Dictionary<int, byte> Classes { get; } = [];

        /// <summary>Code points that may not stand in normalised text, or may change what stands before them.</summary>
        public HashSet<int> Suspects { get; } = [];

        public int Class(int point) => point >= 0x300 && Classes.TryGetValue(point, out var value) ? value : 0;

        public void Add(int point, int[] parts, bool isExcluded)
        {
            Decompositions[point] = parts;
            if (isExcluded)
            {
                Suspects.Add(point);
            }
            else
            {
                Compositions[(parts[0], parts[1])] = point;
                Suspects.Add(parts[1]);
            }
        }
    }
}
