using MetaQuery.Models.Checkpoints;
using MetaQuery.Tokenizers;

namespace MetaQuery.Pipelines;

/// <summary>The vocabulary and the chat template that a GGUF file carries.</summary>
public static class GgufText
{
    /// <exception cref="CheckpointException">The metadata has no byte-level vocabulary.</exception>
    /// <exception cref="TokenizerException">The vocabulary cannot be used.</exception>
    public static Tokenizer ReadTokenizer(GgufFile file)
    {
        ArgumentNullException.ThrowIfNull(file);
        if (file.Require("tokenizer.ggml.model").AsString() is var model and not "gpt2")
            throw new CheckpointException($"{file.Path}: tokenizer.ggml.model is \"{model}\"; only gpt2 (byte-level BPE) is supported");
        var types = file.Metadata.TryGetValue("tokenizer.ggml.token_type", out var stated) ? stated.AsInt64s() : [];
        return ByteLevelBpeTokenizer.FromGguf(new GgufVocabulary(
            file.Require("tokenizer.ggml.tokens").AsStrings(), file.Require("tokenizer.ggml.merges").AsStrings(), [.. types.Select(type => (int)type)],
            file.Metadata.TryGetValue("tokenizer.ggml.pre", out var pre) ? pre.AsString() : "gpt-2"));
    }

    /// <exception cref="CheckpointException">The metadata has none.</exception>
    /// <exception cref="ChatTemplateException">It uses something unknown.</exception>
    public static ChatTemplate ReadChatTemplate(GgufFile file)
    {
        ArgumentNullException.ThrowIfNull(file);
        var tokens = file.Require("tokenizer.ggml.tokens").AsStrings();
        var special = new Dictionary<string, string>(StringComparer.Ordinal);
        foreach (var name in new[] { "bos", "eos" })
        {
            if (file.Metadata.TryGetValue($"tokenizer.ggml.{name}_token_id", out var id) && id.AsInt64() is var index && index >= 0 && index < tokens.Length)
                special[name + "_token"] = tokens[index];
        }

        return ChatTemplate.Parse(file.Require("tokenizer.chat_template").AsString(), special);
    }
}
