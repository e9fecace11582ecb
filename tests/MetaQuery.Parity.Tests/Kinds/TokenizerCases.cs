using System.Text.Json;
using MetaQuery.TestKit;
using MetaQuery.Tokenizers;

namespace MetaQuery.Parity.Tests.Kinds;

/// <summary>cases.jsonl: text, ids, decoded text with and without special tokens.</summary>
internal static class TokenizerCases
{
    public static IEnumerable<JsonElement> Lines(string path) =>
        File.ReadLines(path).Select(line => JsonDocument.Parse(line).RootElement);

    public static long[] Ids(JsonElement element) => [.. element.EnumerateArray().Select(id => id.GetInt64())];

    public static void Run(ParityCase parityCase, Tokenizer tokenizer, ParityReport report)
    {
        var count = 0;
        foreach (var line in Lines(parityCase.PathOf("cases.jsonl")))
        {
            count++;
            var text = line.GetProperty("text").GetString()!;
            var ids = Ids(line.GetProperty("ids"));
            var decoded = line.GetProperty("decoded").GetString()!;
            var visible = line.TryGetProperty("decodedSkipSpecial", out var other) ? other.GetString()! : decoded;
            report.Exact($"line {count}: ids", [.. tokenizer.EncodeToIds(text).Select(id => (long)id)], ids);
            report.Exact($"line {count}: decoded", tokenizer.Decode(ids.Select(id => (int)id)), decoded);
            report.Exact($"line {count}: decoded without special tokens", tokenizer.Decode(ids.Select(id => (int)id), skipSpecialTokens: true), visible);
        }

        report.Exact("lines", [(long)count], [parityCase.Json.GetProperty("cases").GetInt64()]);
    }
}
