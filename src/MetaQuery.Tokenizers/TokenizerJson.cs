using System.IO.Compression;
using System.Text.Json;
using MetaQuery.Tokenizers.Bpe;
using MetaQuery.Tokenizers.PreTokenizers;

namespace MetaQuery.Tokenizers;

/// <summary>Reads Hugging Face's <c>tokenizer.json</c> (tokenizers 0.21) as far as byte-level BPE goes; anything else is refused by name.</summary>
internal static class TokenizerJson
{
    public static ByteLevelBpeTokenizer Load(string path)
    {
        try
        {
            using var file = File.OpenRead(path);
            using var stream = path.EndsWith(".gz", StringComparison.OrdinalIgnoreCase) ? new GZipStream(file, CompressionMode.Decompress) : (Stream)file;
            using var document = JsonDocument.Parse(stream);
            return Read(path, document.RootElement);
        }
        catch (Exception error) when (error is JsonException or InvalidDataException or InvalidOperationException or KeyNotFoundException or FormatException)
        {
            throw new TokenizerException($"{path}: not a readable tokenizer.json: {error.Message}", error);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            throw new TokenizerException($"{path}: cannot be read: {error.Message}", error);
        }
    }

    public static (string Left, string Right) SplitMerge(string source, string merge, int rank)
    {
        var space = merge.IndexOf(' ');
        return space > 0 && space + 1 < merge.Length && merge.IndexOf(' ', space + 1) < 0
            ? (merge[..space], merge[(space + 1)..])
            : throw new TokenizerException($"{source}: merge {rank} is '{merge}'; right would be two tokens with one space between");
    }

    private static ByteLevelBpeTokenizer Read(string path, JsonElement root)
    {
        var model = root.GetProperty("model");
        Require(path, "model.type", Text(model, "type") ?? "BPE", "BPE");
        foreach (var name in (string[])["continuing_subword_prefix", "end_of_word_suffix", "unk_token"])
        {
            Require(path, "model." + name, Text(model, name) ?? "", "");
        }

        if (Flag(model, "byte_fallback") || (model.TryGetProperty("dropout", out var dropout) && dropout.ValueKind == JsonValueKind.Number && dropout.GetDouble() != 0))
        {
            throw new TokenizerException($"{path}: model.byte_fallback and model.dropout must be off for a byte-level tokenizer");
        }

        var vocabulary = model.GetProperty("vocab").EnumerateObject().ToDictionary(p => p.Name, p => p.Value.GetInt32());
        var merges = new List<(string, string)>(model.GetProperty("merges").GetArrayLength());
        foreach (var merge in model.GetProperty("merges").EnumerateArray())
        {
            merges.Add(merge.ValueKind == JsonValueKind.String
                ? SplitMerge(path, merge.GetString()!, merges.Count)
                : (merge[0].GetString()!, merge[1].GetString()!));
        }

        var stages = new List<PreTokenizer>();
        var isByteLevel = false;
        var addPrefixSpace = false;
        foreach (var entry in Flatten(root, "pre_tokenizer", "pretokenizers"))
        {
            switch (Text(entry, "type"))
            {
                case "ByteLevel":
                    isByteLevel = true;
                    if (Flag(entry, "add_prefix_space"))
                    {
                        addPrefixSpace = stages.Count == 0
                            ? true
                            : throw new TokenizerException($"{path}: ByteLevel.add_prefix_space after another pre_tokenizer is not supported");
                    }

                    if (Flag(entry, "use_regex", defaultValue: true))
                    {
                        stages.Add(new Gpt2Scanner());
                    }

                    break;
                case "Digits":
                    stages.Add(Flag(entry, "individual_digits") ? new IndividualDigitsScanner() : new RegexSplitter(@"\p{N}+"));
                    break;
                case "Split":
                    stages.Add(ReadSplit(path, entry));
                    break;
                case var type:
                    throw new TokenizerException($"{path}: pre_tokenizer '{type}' is not supported; known are Sequence, Split, Digits and ByteLevel");
            }
        }

        if (!isByteLevel)
        {
            throw new TokenizerException($"{path}: no ByteLevel in pre_tokenizer; only byte-level BPE is supported");
        }

        var formC = false;
        foreach (var entry in Flatten(root, "normalizer", "normalizers"))
        {
            Require(path, "normalizer.type", Text(entry, "type") ?? "", "NFC");
            formC = true;
        }

        var preTokenizer = stages.Count == 1 ? stages[0] : new PreTokenizerSequence(stages);
        var bpe = new BpeModel(path, vocabulary, merges, preTokenizer, Flag(model, "ignore_merges")) { NormalizeToFormC = formC, AddPrefixSpace = addPrefixSpace };
        return new ByteLevelBpeTokenizer(bpe, ReadAdded(root));
    }

    private static IEnumerable<AddedToken> ReadAdded(JsonElement root) =>
        root.TryGetProperty("added_tokens", out var list) && list.ValueKind == JsonValueKind.Array
            ? list.EnumerateArray().Select(t => new AddedToken(
                t.GetProperty("id").GetInt32(),
                t.GetProperty("content").GetString()!,
                Flag(t, "special"),
                Flag(t, "normalized"),
                Flag(t, "lstrip"),
                Flag(t, "rstrip"),
                Flag(t, "single_word")))
            : [];

    private static PreTokenizer ReadSplit(string path, JsonElement entry)
    {
        var pattern = entry.GetProperty("pattern");
        var regex = Text(pattern, "Regex") ?? System.Text.RegularExpressions.Regex.Escape(
            Text(pattern, "String") ?? throw new TokenizerException($"{path}: Split.pattern must be {{\"Regex\": …}} or {{\"String\": …}}"));
        if (!Enum.TryParse<SplitBehavior>(Text(entry, "behavior"), out var behavior))
        {
            throw new TokenizerException($"{path}: Split.behavior is '{Text(entry, "behavior")}'; known are {string.Join(", ", Enum.GetNames<SplitBehavior>())}");
        }

        var invert = Flag(entry, "invert");
        return (regex, behavior, invert) switch
        {
            (QwenScanner.OneDigitPattern, SplitBehavior.Isolated, false) => new QwenScanner(1),
            (QwenScanner.ThreeDigitsPattern, SplitBehavior.Isolated, false) => new QwenScanner(3),
            (Gpt2Scanner.Pattern, SplitBehavior.Isolated, false) => new Gpt2Scanner(),
            _ => new RegexSplitter(regex, behavior, invert),
        };
    }

    private static IEnumerable<JsonElement> Flatten(JsonElement root, string name, string listName)
    {
        if (!root.TryGetProperty(name, out var element) || element.ValueKind == JsonValueKind.Null)
        {
            return [];
        }

        return string.Equals(Text(element, "type"), "Sequence", StringComparison.Ordinal) ? [.. element.GetProperty(listName).EnumerateArray()] : [element];
    }

    private static string? Text(JsonElement element, string name) =>
        element.TryGetProperty(name, out var value) && value.ValueKind == JsonValueKind.String ? value.GetString() : null;

    private static bool Flag(JsonElement element, string name, bool defaultValue = false) =>
        element.TryGetProperty(name, out var value) && value.ValueKind is JsonValueKind.True or JsonValueKind.False ? value.GetBoolean() : defaultValue;

    private static void Require(string path, string field, string value, string expected)
    {
        if (!string.Equals(value, expected, StringComparison.Ordinal))
        {
            throw new TokenizerException($"{path}: {field} is '{value}'; only '{expected}' is supported");
        }
    }
}
