using System.Text.Json;

namespace MetaQuery.Tokenizers.Tests;

/// <summary>Every line that the reference tokenised, both ways, exactly.</summary>
public class CaseFileTests
{
    [Fact]
    public void Every_line_of_Qwen2_5_agrees() => Agrees(Fixtures.Qwen, "tokenizer-qwen2_5");

    [Fact]
    public void Every_line_of_SmolLM2_agrees() => Agrees(Fixtures.Smol, "tokenizer-smollm2");

    [Fact]
    public void Lengths_are_the_reference_s()
    {
        Assert.Equal(151665, Fixtures.Qwen.VocabularySize);
        Assert.Equal(49152, Fixtures.Smol.VocabularySize);
    }

    private static void Agrees(Tokenizer tokenizer, string folder)
    {
        var wrong = new List<string>();
        var count = 0;
        foreach (var line in Fixtures.Lines(folder, "cases.jsonl"))
        {
            count++;
            var text = line.GetProperty("text").GetString()!;
            var ids = Fixtures.Ids(line.GetProperty("ids"));
            var decoded = line.GetProperty("decoded").GetString()!;
            var skipped = line.TryGetProperty("decodedSkipSpecial", out var other) ? other.GetString()! : decoded;
            if (!tokenizer.EncodeToIds(text).SequenceEqual(ids))
            {
                wrong.Add($"{JsonSerializer.Serialize(text)}: {string.Join(' ', ids)} expected, {string.Join(' ', tokenizer.EncodeToIds(text))} made");
            }

            if (tokenizer.Decode(ids) != decoded || tokenizer.Decode(ids, skipSpecialTokens: true) != skipped)
            {
                wrong.Add($"{JsonSerializer.Serialize(text)}: decodes to {JsonSerializer.Serialize(tokenizer.Decode(ids))}");
            }
        }

        Assert.True(count > 400, $"only {count} lines were found");
        Assert.True(wrong.Count == 0, string.Join('\n', wrong.Take(20)));
    }
}
