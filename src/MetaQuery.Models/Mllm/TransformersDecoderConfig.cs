using System.Text.Json;
using MetaQuery.Models.Checkpoints;

namespace MetaQuery.Models.Mllm;

/// <summary>Reads a decoder's sizes from a transformers config.json.</summary>
internal static class TransformersDecoderConfig
{
    // Model types whose language part is one of the two decoders; of the multimodal ones only the text is meant here.
    private static readonly HashSet<string> Qwen2Types = new(StringComparer.Ordinal) { "qwen2", "qwen2_vl", "qwen2_5_vl", "qwen2_5_vl_text", "qwen2_vl_text" };
    private static readonly HashSet<string> LlamaTypes = new(StringComparer.Ordinal) { "llama" };

    public static DecoderConfig Read(ConfigFile file)
    {
        ArgumentNullException.ThrowIfNull(file);
        var section = file.OptionalSection("text_config");
        var json = section ?? file;
        var type = json.String("model_type");
        var qwen2 = Qwen2Types.Contains(type);
        if (!qwen2 && !LlamaTypes.Contains(type))
            throw json.Error("model_type", $"is \"{type}\", which is not a decoder that is built here; supported are {string.Join(", ", LlamaTypes.Concat(Qwen2Types))}");
        if (json.String("hidden_act", "silu") is var activation and not "silu")
            throw json.Error("hidden_act", $"is \"{activation}\"; only silu is supported");
        if (qwen2 && json.Boolean("use_sliding_window", false) && json.Has("sliding_window"))
            throw json.Error("use_sliding_window", "is true; attention over a sliding window is not supported");

        // A section leaves out what is the library's default, a file of its own states all: Qwen2Config of transformers 4.49.
        int Size(string name, int absent) => section is not null && qwen2 ? json.Int32(name, absent) : json.Int32(name);
        var (hidden, heads) = (Size("hidden_size", 4096), Size("num_attention_heads", 32));
        var attentionBias = json.Boolean("attention_bias", false);
        return new DecoderConfig
        {
            VocabularySize = Size("vocab_size", 151936),
            HiddenSize = hidden,
            IntermediateSize = Size("intermediate_size", 22016),
            NumHiddenLayers = Size("num_hidden_layers", 32),
            NumAttentionHeads = heads,
            NumKeyValueHeads = json.Int32("num_key_value_heads", section is not null && qwen2 && heads % 32 == 0 ? 32 : heads),
            HeadSize = json.Int32("head_dim", hidden / Math.Max(heads, 1)),
            RmsNormEpsilon = json.Double("rms_norm_eps", 1e-6),
            Rotary = RotaryConfig.FromTransformers(json),
            QueryKeyValueBias = qwen2 || attentionBias,
            OutputBias = !qwen2 && attentionBias,
            MlpBias = !qwen2 && json.Boolean("mlp_bias", false),
            // LlavaOnevisionForConditionalGeneration.tie_weights asks the language model's own configuration.
            TieWordEmbeddings = json.Boolean("tie_word_embeddings", file.Boolean("tie_word_embeddings", false)),
            EndOfSequenceIds = EndOfSequence(json),
            MaxPositionEmbeddings = json.Int32("max_position_embeddings", qwen2 ? 32768 : 2048),
        }.Checked(json.Path);
    }

    // One id, or a list of them.
    private static IReadOnlyList<long> EndOfSequence(ConfigFile json) =>
        json.Find("eos_token_id") is not { } value ? [] : value.ValueKind == JsonValueKind.Array ? json.Int64s("eos_token_id") : [json.Int64("eos_token_id")];
}
