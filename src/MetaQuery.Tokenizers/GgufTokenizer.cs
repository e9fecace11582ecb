using MetaQuery.Tokenizers.Bpe;
using MetaQuery.Tokenizers.PreTokenizers;

namespace MetaQuery.Tokenizers;

/// <summary>A tokenizer from a GGUF vocabulary. The pre-tokenisers behind llama.cpp's names: llama.cpp src/llama-vocab.cpp.</summary>
internal static class GgufTokenizer
{
    private const int ControlType = 3, UserDefinedType = 4;

    public static ByteLevelBpeTokenizer Build(GgufVocabulary source)
    {
        if (source.TokenTypes.Count != 0 && source.TokenTypes.Count != source.Tokens.Count)
        {
            throw new TokenizerException($"tokenizer.ggml.token_type has {source.TokenTypes.Count} entries, tokenizer.ggml.tokens has {source.Tokens.Count}");
        }

        var vocabulary = new Dictionary<string, int>(source.Tokens.Count);
        for (var id = 0; id < source.Tokens.Count; id++)
        {
            if (!vocabulary.TryAdd(source.Tokens[id], id))
            {
                throw new TokenizerException($"tokenizer.ggml.tokens: '{source.Tokens[id]}' stands at {vocabulary[source.Tokens[id]]} and again at {id}");
            }
        }

        var merges = new List<(string, string)>(source.Merges.Count);
        foreach (var merge in source.Merges)
        {
            merges.Add(TokenizerJson.SplitMerge("tokenizer.ggml.merges", merge, merges.Count));
        }

        var added = source.TokenTypes
            .Select((type, id) => (Type: type, Id: id))
            .Where(t => t.Type is ControlType or UserDefinedType)
            .Select(t => new AddedToken(t.Id, source.Tokens[t.Id], IsSpecial: t.Type == ControlType));
        var (preTokenizer, ignoreMerges, formC) = Rules(source.PreTokenizer);
        var model = new BpeModel("tokenizer.ggml", vocabulary, merges, preTokenizer, ignoreMerges) { NormalizeToFormC = formC };
        return new ByteLevelBpeTokenizer(model, added);
    }

    private static (PreTokenizer PreTokenizer, bool IgnoreMerges, bool FormC) Rules(string name) => name switch
    {
        "smollm" => (new PreTokenizerSequence([new IndividualDigitsScanner(), new Gpt2Scanner()]), false, false),
        "gpt-2" => (new Gpt2Scanner(), false, false),
        "qwen2" => (new QwenScanner(1), false, true), // Qwen2's tokenizer.json normalises to form C; the GGUF does not say so
        "llama-bpe" => (new QwenScanner(3), true, false),
        _ => throw new TokenizerException($"tokenizer.ggml.pre is '{name}'; known are smollm, gpt-2, qwen2 and llama-bpe"),
    };
}
