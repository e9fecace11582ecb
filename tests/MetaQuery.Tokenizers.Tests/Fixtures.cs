using System.Text;
using System.Text.Json;

namespace MetaQuery.Tokenizers.Tests;

/// <summary>The golden tokenizers, loaded once.</summary>
internal static class Fixtures
{
    public static string Root { get; } = FindRoot();

    public static string Mllm { get; } = Path.Combine(Root, "tests", "fixtures", "mllm");

    private static readonly Lazy<ByteLevelBpeTokenizer> LazyQwen = new(() =>
        ByteLevelBpeTokenizer.FromTokenizerJson(Path.Combine(Mllm, "tokenizer-qwen2_5", "tokenizer.json.gz")));

    private static readonly Lazy<(GgufVocabulary Vocabulary, string Template)> LazyGguf = new(() =>
        ReadGguf(Path.Combine(Root, "models", "nano", "mllm", "SmolLM2-135M-Instruct.Q4_1.gguf")));

    private static readonly Lazy<ByteLevelBpeTokenizer> LazySmol = new(() => ByteLevelBpeTokenizer.FromGguf(LazyGguf.Value.Vocabulary));

    public static ByteLevelBpeTokenizer Qwen => LazyQwen.Value;

    public static ByteLevelBpeTokenizer Smol => LazySmol.Value;

    public static GgufVocabulary SmolVocabulary => LazyGguf.Value.Vocabulary;

    public static string SmolTemplate => LazyGguf.Value.Template;

    public static IEnumerable<JsonElement> Lines(params string[] path) =>
        File.ReadLines(Path.Combine([Mllm, .. path])).Select(line => JsonDocument.Parse(line).RootElement);

    public static int[] Ids(JsonElement element) => [.. element.EnumerateArray().Select(e => e.GetInt32())];

    private static string FindRoot()
    {
        var folder = AppContext.BaseDirectory;
        while (!File.Exists(Path.Combine(folder, "MetaQuery.Farm.sln")))
        {
            folder = Path.GetDirectoryName(folder) ?? throw new InvalidOperationException("no MetaQuery.Farm.sln above " + AppContext.BaseDirectory);
        }

        return folder;
    }

    // Only the key-value section; the real reader lives in Models, which this room may not see.
    private static (GgufVocabulary Vocabulary, string Template) ReadGguf(string path)
    {
        using var reader = new BinaryReader(File.OpenRead(path));
        reader.BaseStream.Position = 16;
        var count = reader.ReadInt64();
        var values = new Dictionary<string, object>();
        for (var index = 0L; index < count; index++)
        {
            var key = Text();
            values[key] = Value(reader.ReadInt32());
        }

        return (
            new GgufVocabulary(
                [.. ((object[])values["tokenizer.ggml.tokens"]).Cast<string>()],
                [.. ((object[])values["tokenizer.ggml.merges"]).Cast<string>()],
                [.. ((object[])values["tokenizer.ggml.token_type"]).Cast<int>()],
                (string)values["tokenizer.ggml.pre"]),
            (string)values["tokenizer.chat_template"]);

        string Text() => Encoding.UTF8.GetString(reader.ReadBytes((int)reader.ReadInt64()));

        object Value(int type) => type switch
        {
            4 => reader.ReadUInt32(),
            5 => reader.ReadInt32(),
            6 => reader.ReadSingle(),
            7 => reader.ReadByte() != 0,
            8 => Text(),
            9 => Values(reader.ReadInt32(), reader.ReadInt64()),
            _ => throw new NotSupportedException($"GGUF value type {type}"),
        };

        object[] Values(int type, long length) => [.. Enumerable.Range(0, (int)length).Select(_ => Value(type))];
    }
}
