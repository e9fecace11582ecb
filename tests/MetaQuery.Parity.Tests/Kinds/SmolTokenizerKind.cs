using System.Security.Cryptography;
using MetaQuery.Models.Checkpoints;
using MetaQuery.TestKit;
using MetaQuery.Tokenizers;

namespace MetaQuery.Parity.Tests.Kinds;

/// <summary>SmolLM2's tokenizer, built from the vocabulary inside the GGUF file that the case names.</summary>
public sealed class SmolTokenizerKind : IParityKind
{
    public IReadOnlyList<string> Kinds => ["tokenizer-smollm2"];

    public void Run(ParityCase parityCase, ParityReport report)
    {
        var path = parityCase.FindShared(parityCase.Json.GetProperty("gguf").GetString()!);
        using (var stream = File.OpenRead(path))
        {
            report.Exact("sha256 of the GGUF file", Convert.ToHexStringLower(SHA256.HashData(stream)), parityCase.Json.GetProperty("ggufSha256").GetString());
        }

        using var file = GgufFile.Open(path);
        var tokenizer = ByteLevelBpeTokenizer.FromGguf(new GgufVocabulary(
            file.Require("tokenizer.ggml.tokens").AsStrings(),
            file.Require("tokenizer.ggml.merges").AsStrings(),
            [.. file.Require("tokenizer.ggml.token_type").AsInt64s().Select(type => (int)type)],
            file.Require("tokenizer.ggml.pre").AsString()));
        var special = parityCase.Json.GetProperty("specialTokens").EnumerateArray().Select(t => t.GetString()!).Order(StringComparer.Ordinal);
        report.Exact("special tokens", string.Join(' ', tokenizer.AddedTokens.Keys.Order(StringComparer.Ordinal)), string.Join(' ', special));
        TokenizerCases.Run(parityCase, tokenizer, report);
    }
}
