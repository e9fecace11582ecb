using System.Text.Json.Nodes;

namespace MetaQuery.Pipelines.RandomModels;

/// <summary>A tokenizer without a vocabulary of its own: a token a byte, and the family's special tokens at their own ids.</summary>
internal static class RandomTokenizer
{
    private const string QwenPattern = // Qwen2's pre-tokenizer
        @"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

    /// <summary>Writes tokenizer.json and tokenizer_config.json.</summary>
    /// <param name="special">Special tokens by id.</param>
    public static void Write(string folder, IReadOnlyList<(int Id, string Content)> special, string chatTemplate)
    {
        var vocabulary = new JsonObject();
        foreach (var (id, letter) in ByteLetters().Index())
            vocabulary[letter.ToString()] = id;
        var added = special.Select(token => (JsonNode)new JsonObject
        {
            ["id"] = token.Id, ["content"] = token.Content, ["single_word"] = false, ["lstrip"] = false, ["rstrip"] = false, ["normalized"] = false, ["special"] = true,
        });
        var tokenizer = new JsonObject
        {
            ["version"] = "1.0",
            ["truncation"] = null,
            ["padding"] = null,
            ["added_tokens"] = new JsonArray([.. added]),
            ["normalizer"] = new JsonObject { ["type"] = "NFC" },
            ["pre_tokenizer"] = new JsonObject
            {
                ["type"] = "Sequence",
                ["pretokenizers"] = new JsonArray(
                    new JsonObject
                    {
                        ["type"] = "Split", ["pattern"] = new JsonObject { ["Regex"] = QwenPattern }, ["behavior"] = "Isolated", ["invert"] = false,
                    },
                    ByteLevel()),
            },
            ["post_processor"] = ByteLevel(),
            ["decoder"] = ByteLevel(),
            ["model"] = new JsonObject
            {
                ["type"] = "BPE", ["dropout"] = null, ["unk_token"] = null, ["continuing_subword_prefix"] = null, ["end_of_word_suffix"] = null,
                ["fuse_unk"] = false, ["byte_fallback"] = false, ["ignore_merges"] = false, ["vocab"] = vocabulary, ["merges"] = new JsonArray(),
            },
        };
        File.WriteAllText(Path.Combine(folder, "tokenizer.json"), tokenizer.ToJsonString());
        var config = new JsonObject
        {
            ["tokenizer_class"] = "Qwen2Tokenizer", ["eos_token"] = "<|im_end|>", ["pad_token"] = "<|endoftext|>", ["model_max_length"] = 131072, ["chat_template"] = chatTemplate,
        };
        File.WriteAllText(Path.Combine(folder, "tokenizer_config.json"), config.ToJsonString());
    }

    private static JsonObject ByteLevel() =>
        new() { ["type"] = "ByteLevel", ["add_prefix_space"] = false, ["trim_offsets"] = true, ["use_regex"] = false };

    // GPT-2's letters for the 256 bytes, the printable ones first: the order of its vocabulary.
    private static IEnumerable<char> ByteLetters()
    {
        for (var letter = '!'; letter <= '~'; letter++)
            yield return letter;
        for (var letter = '¡'; letter <= '¬'; letter++)
            yield return letter;
        for (var letter = '®'; letter <= 'ÿ'; letter++)
            yield return letter;
        for (var other = 0; other < 256 - 188; other++)
            yield return (char)(256 + other);
    }
}
