using System.Diagnostics;
using System.Text;
using FsCheck;
using FsCheck.Fluent;
using FsCheck.Xunit;
using MetaQuery.Tokenizers.Bpe;
using MetaQuery.Tokenizers.PreTokenizers;
using MetaQuery.Tokenizers.Unicode;

namespace MetaQuery.Tokenizers.Tests;

public class PropertyTests
{
    /// <summary>Text in which every rule of the patterns gets its chance: letters, marks, digits of several scripts, spaces, line ends, apostrophes, code points beyond the basic plane.</summary>
    public static class Texts
    {
        private static readonly string[] Pieces =
        [
            "a", "B", "é", "e\u0301", "\u0323", "ß", "я", "東", "한", "\u1112\u1161\u11ab", "0", "7", "٣", "Ⅷ", "½", "𝟘", "𐌰", "𩸽", "👍", "🏽", "\u200d", " ", "  ", "\t", "\u00a0", "\u3000",
            "\u2028", "\u0085", "\v", "\n", "\r", "\r\n", "'s", "'S", "'re", "'LL", "'", "!", "...", "<|im_end|>", "_", "\0", "\ufeff", "x", "the ", " of",
        ];

        public static Arbitrary<string> Arbitrary() =>
            Gen.Elements(Pieces).ArrayOf().Select(string.Concat).ToArbitrary();
    }

    [Property(Arbitrary = [typeof(Texts)], MaxTest = 1500)]
    public bool The_scanners_cut_as_their_patterns_do(string text) =>
        Same(new Gpt2Scanner(), Gpt2Scanner.Pattern, text)
        && Same(new QwenScanner(1), QwenScanner.OneDigitPattern, text)
        && Same(new QwenScanner(3), QwenScanner.ThreeDigitsPattern, text)
        && Same(new IndividualDigitsScanner(), @"\p{N}", text);

    [Property(Arbitrary = [typeof(Texts)], MaxTest = 1000)]
    public bool Decoding_gives_back_the_normalised_text(string text) =>
        Fixtures.Qwen.Decode(Fixtures.Qwen.EncodeToIds(text)) == NormalizationFormC.Normalize(text)
        && Fixtures.Smol.Decode(Fixtures.Smol.EncodeToIds(text)) == text
        && Fixtures.Smol.Decode(Fixtures.Smol.EncodeUserTextToIds(text)) == text;

    [Property(Arbitrary = [typeof(Texts)], MaxTest = 1000)]
    public bool Normalising_twice_changes_nothing_and_composes_what_was_taken_apart(string text)
    {
        var once = NormalizationFormC.Normalize(text);
        return NormalizationFormC.Normalize(once) == once && NormalizationFormC.Normalize(once + "\u0301\u0323") == NormalizationFormC.Normalize(once + "\u0323\u0301");
    }

    [Property(MaxTest = 1000)]
    public bool Short_and_long_words_are_merged_alike(NonEmptyArray<byte> word)
    {
        // 5 letters, and merges among them and their results: many ties. The rule itself, written down plainly, is the judge.
        var table = new MergeTable(40);
        for (var rank = 0; rank < 30; rank++)
        {
            table.Set(rank * 7 % (5 + rank), rank * 11 % (5 + rank), rank * 17 % 30, 5 + rank);
        }

        var symbols = word.Get.Select(b => b % 5).ToArray();
        var padded = Enumerable.Range(0, 8).SelectMany(_ => symbols).ToArray();
        return Merged(symbols, table).SequenceEqual(Plain(symbols, table)) && Merged(padded, table).SequenceEqual(Plain(padded, table));
    }

    [Fact]
    public void Python_s_normalisation_of_2000_strings_agrees()
    {
        var lines = File.ReadAllLines(Path.Combine(AppContext.BaseDirectory, "Data", "nfc_cases.txt")).Where(l => l[0] != '#').ToList();
        Assert.Equal(2000, lines.Count);
        foreach (var line in lines)
        {
            var (text, expected) = (Points(line.Split('=')[0]), Points(line.Split('=')[1]));
            Assert.Equal(expected, NormalizationFormC.Normalize(text));
        }

        static string Points(string hex) => string.Concat(hex.Split(' ').Select(h => char.ConvertFromUtf32(Convert.ToInt32(h, 16))));
    }

    [Fact]
    public void A_word_of_1_MB_takes_nowhere_near_quadratic_time()
    {
        // 32 KB to 1 MB: linear would be 32 times, quadratic 1,024 times; on a busy machine 128 tells them apart.
        Measure(1 << 15);
        var small = Enumerable.Range(0, 3).Min(_ => Measure(1 << 15));
        var large = Measure(1 << 20);
        Assert.True(large < small * 128, $"32 KB took {small.TotalMilliseconds} ms, 1 MB took {large.TotalMilliseconds} ms");

        static TimeSpan Measure(int length)
        {
            var random = new Random(7);
            var word = new string([.. Enumerable.Range(0, length).Select(_ => (char)('a' + random.Next(26)))]);
            var watch = Stopwatch.StartNew();
            Fixtures.Smol.EncodeToIds(word);
            Fixtures.Qwen.EncodeToIds(new string('a', length));
            Fixtures.Qwen.EncodeToIds("e" + new string('\u0301', length / 16));
            return watch.Elapsed;
        }
    }

    [Fact]
    public void Two_threads_share_a_tokenizer()
    {
        var text = string.Join(' ', Enumerable.Range(0, 3000).Select(i => $"word{i % 700} é{i}"));
        var expected = Fixtures.Qwen.EncodeToIds(text);
        Parallel.For(0, 8, _ => Assert.Equal(expected, Fixtures.Qwen.EncodeToIds(text)));
    }

    private static bool Same(PreTokenizer scanner, string pattern, string text)
    {
        var (scanned, matched) = (new List<(int, int)>(), new List<(int, int)>());
        scanner.Split(text, 0, scanned);
        new RegexSplitter(pattern).Split(text, 0, matched);
        return scanned.SequenceEqual(matched);
    }

    private static int[] Merged(int[] symbols, MergeTable table)
    {
        var copy = symbols.ToArray();
        return copy[..new BytePairMerger(table).Merge(copy)];
    }

    private static List<int> Plain(int[] symbols, MergeTable table)
    {
        var list = symbols.ToList();
        while (true)
        {
            var (best, at, id) = (int.MaxValue, -1, 0);
            for (var index = 0; index + 1 < list.Count; index++)
            {
                if (table.TryGet(list[index], list[index + 1], out var rank, out var merged) && rank < best)
                {
                    (best, at, id) = (rank, index, merged);
                }
            }

            if (at < 0)
            {
                return list;
            }

            list[at] = id;
            list.RemoveAt(at + 1);
        }
    }
}
