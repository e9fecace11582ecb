using System.IO.Compression;
using System.Text;
using System.Text.Json.Nodes;

namespace MetaQuery.Tokenizers.Tests;

/// <summary>The flags' rules, on a tiny vocabulary of single bytes. Expected pieces follow Hugging Face tokenizers 0.21.</summary>
public class AddedTokenTests
{
    [Theory]
    [InlineData("a<t>b", "", "a|<t>|b")]
    [InlineData("a <t> b", "lstrip", "a|<t>| b")]
    [InlineData("a <t> b", "rstrip", "a |<t>|b")]
    [InlineData("a <t>  <t> b", "lstrip rstrip", "a|<t>|<t>|b")]
    [InlineData("a<t> <t>b <t>", "single_word", "a<t> |<t>b |<t>", "a<t> <t>b |<t>")]
    [InlineData("<t>", "single_word", "<t>")]
    [InlineData("x<t", "", "x<t")]
    public void Flags_swallow_white_space_and_mind_words(string text, string flags, string pieces, string? insteadExpected = null)
    {
        var tokenizer = Tiny(Token("<t>", 300, flags));
        var made = string.Join('|', Pieces(tokenizer, tokenizer.EncodeToIds(text)));
        Assert.Equal(insteadExpected ?? pieces, made);
    }

    [Fact]
    public void The_longest_of_two_tokens_at_one_place_wins()
    {
        var tokenizer = Tiny(Token("<a", 300, ""), Token("<a><b>", 301, ""));
        Assert.Equal([301, 300], tokenizer.EncodeToIds("<a><b><a"));
    }

    [Fact]
    public void A_normalised_token_is_found_in_normalised_text()
    {
        var tokenizer = Tiny(Token("\u00e9!", 300, "normalized"), Token("n\u00e9!", 301, ""));
        Assert.Equal([300], tokenizer.EncodeToIds("e\u0301!"));
        Assert.Equal([301], tokenizer.EncodeToIds("n\u00e9!"));
    }

    [Fact]
    public void Growth_keeps_known_tokens_and_refuses_a_taken_id()
    {
        var tokenizer = Tiny(Token("<t>", 300, ""));
        var grown = tokenizer.WithAddedTokens([new AddedToken(999, "<t>"), new AddedToken(301, "<u>")]);
        Assert.Equal(300, grown.TokenToId("<t>"));
        Assert.Equal([300, 301], grown.EncodeToIds("<t><u>"));
        Assert.Equal(tokenizer.VocabularySize + 1, grown.VocabularySize);
        Assert.Throws<TokenizerException>(() => tokenizer.WithAddedTokens([new AddedToken(300, "<v>")]));
    }

    [Theory]
    [InlineData("{", "not a readable")]
    [InlineData("{}", "not a readable")]
    [InlineData("""{"model":{"type":"Unigram","vocab":{},"merges":[]}}""", "Unigram")]
    [InlineData("""{"model":{"type":"BPE","vocab":{"a":0},"merges":[]}}""", "ByteLevel")]
    [InlineData("""{"model":{"type":"BPE","vocab":{"a":0},"merges":["a b"]},"pre_tokenizer":{"type":"ByteLevel"}}""", "vocabulary lacks")]
    [InlineData("""{"model":{"type":"BPE","vocab":{"a":0},"merges":["ab"]},"pre_tokenizer":{"type":"ByteLevel"}}""", "one space")]
    [InlineData("""{"model":{"type":"BPE","vocab":{"a":2000000000},"merges":[]},"pre_tokenizer":{"type":"ByteLevel"}}""", "2000000000")]
    [InlineData("""{"model":{"type":"BPE","vocab":{"a":0},"merges":[]},"pre_tokenizer":{"type":"Metaspace"}}""", "Metaspace")]
    [InlineData("""{"model":{"type":"BPE","vocab":{"a":0},"merges":[]},"normalizer":{"type":"NFKC"},"pre_tokenizer":{"type":"ByteLevel"}}""", "NFKC")]
    [InlineData("""{"model":{"type":"BPE","vocab":{"a":0},"merges":[]},"pre_tokenizer":{"type":"Split","pattern":{"Regex":"("},"behavior":"Isolated"}}""", "pattern (")]
    public void A_file_it_cannot_use_is_refused_by_name(string json, string reason)
    {
        var path = Path.GetTempFileName();
        try
        {
            File.WriteAllText(path, json);
            var error = Assert.Throws<TokenizerException>(() => ByteLevelBpeTokenizer.FromTokenizerJson(path));
            Assert.Contains(reason, error.Message, StringComparison.Ordinal);
        }
        finally
        {
            File.Delete(path);
        }
    }

    private static IEnumerable<string> Pieces(Tokenizer tokenizer, IEnumerable<int> ids)
    {
        var text = new StringBuilder();
        foreach (var id in ids)
        {
            if (id >= 300 && text.Length > 0)
            {
                yield return text.ToString();
                text.Clear();
            }

            text.Append(tokenizer.Decode([id]));
            if (id >= 300)
            {
                yield return text.ToString();
                text.Clear();
            }
        }

        if (text.Length > 0)
        {
            yield return text.ToString();
        }
    }

    private static JsonObject Token(string content, int id, string flags) => new()
    {
        ["id"] = id, ["content"] = content, ["special"] = true,
        ["lstrip"] = flags.Contains("lstrip", StringComparison.Ordinal), ["rstrip"] = flags.Contains("rstrip", StringComparison.Ordinal),
        ["single_word"] = flags.Contains("single_word", StringComparison.Ordinal), ["normalized"] = flags.Contains("normalized", StringComparison.Ordinal),
    };

    private static ByteLevelBpeTokenizer Tiny(params JsonObject[] added)
    {
        var vocabulary = new JsonObject();
        for (var value = 0; value < 256; value++)
        {
            vocabulary[Bpe.ByteAlphabet.LetterOfByte[value].ToString()] = value;
        }

        var root = new JsonObject
        {
            ["added_tokens"] = new JsonArray([.. added]),
            ["normalizer"] = new JsonObject { ["type"] = "NFC" },
            ["pre_tokenizer"] = new JsonObject { ["type"] = "ByteLevel", ["add_prefix_space"] = false },
            ["model"] = new JsonObject { ["type"] = "BPE", ["vocab"] = vocabulary, ["merges"] = new JsonArray() },
        };
        var path = Path.Combine(Path.GetTempPath(), $"tiny-{Guid.NewGuid():N}.json.gz");
        try
        {
            using (var stream = new GZipStream(File.Create(path), CompressionLevel.Fastest))
            {
                stream.Write(Encoding.UTF8.GetBytes(root.ToJsonString()));
            }

            return ByteLevelBpeTokenizer.FromTokenizerJson(path);
        }
        finally
        {
            File.Delete(path);
        }
    }
}
