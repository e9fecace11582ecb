using MetaQuery.Models.Checkpoints;

namespace MetaQuery.Models.Mllm;

/// <summary>Sizes and constants of a Llama or Qwen2 decoder. Everything in which the two differ stands here.</summary>
public sealed record DecoderConfig
{
    public required int VocabularySize { get; init; }

    public required int HiddenSize { get; init; }

    public required int IntermediateSize { get; init; }

    public required int NumHiddenLayers { get; init; }

    public required int NumAttentionHeads { get; init; }

    /// <summary>Heads of keys and values; each serves <see cref="NumAttentionHeads"/> / this many query heads.</summary>
    public required int NumKeyValueHeads { get; init; }

    public required int HeadSize { get; init; }

    public required double RmsNormEpsilon { get; init; }

    public required RotaryConfig Rotary { get; init; }

    /// <summary>Biases of the q, k and v projections: Qwen2 has them, Llama only with attention_bias.</summary>
    public bool QueryKeyValueBias { get; init; }

    /// <summary>Bias of the attention's output projection: Llama with attention_bias.</summary>
    public bool OutputBias { get; init; }

    /// <summary>Biases of the feed-forward: Llama with mlp_bias.</summary>
    public bool MlpBias { get; init; }

    /// <summary>The token table is the output head as well; the file then holds no lm_head.weight.</summary>
    public bool TieWordEmbeddings { get; init; }

    /// <summary>Tokens after which an answer ends.</summary>
    public IReadOnlyList<long> EndOfSequenceIds { get; init; } = [];

    /// <summary>How many tokens the model was trained for.</summary>
    public int MaxPositionEmbeddings { get; init; }

    /// <summary>Reads a transformers config.json. Values that the file leaves out take transformers 4.49's defaults.</summary>
    /// <param name="config">The whole file; a text_config inside it is found.</param>
    /// <exception cref="CheckpointException">Another architecture, or a value that is missing, malformed or not supported.</exception>
    public static DecoderConfig FromTransformers(ConfigFile config) => TransformersDecoderConfig.Read(config);

    /// <summary>Reads the metadata of a GGUF file of architecture llama or qwen2.</summary>
    /// <exception cref="CheckpointException">Another architecture, or a value that is missing, malformed or not supported.</exception>
    public static DecoderConfig FromGguf(GgufFile file) => GgufDecoderConfig.Read(file);

    internal DecoderConfig Checked(string path)
    {
        Require(VocabularySize > 0 && HiddenSize > 0 && IntermediateSize > 0 && NumHiddenLayers > 0 && NumAttentionHeads > 0 && NumKeyValueHeads > 0,
            $"sizes must be positive: vocabulary {VocabularySize}, hidden {HiddenSize}, intermediate {IntermediateSize}, layers {NumHiddenLayers}, heads {NumAttentionHeads}, key-value heads {NumKeyValueHeads}");
        Require(NumAttentionHeads % NumKeyValueHeads == 0, $"{NumAttentionHeads} attention heads are not divisible by {NumKeyValueHeads} key-value heads");
        Require(HeadSize > 0 && HeadSize % 2 == 0, $"head size {HeadSize} is not a positive even number");
        Require(RmsNormEpsilon is > 0 and < 1, $"rms_norm_eps {RmsNormEpsilon} is not between 0 and 1");
        Require(Rotary.Theta > 0 && double.IsFinite(Rotary.Theta), $"rope_theta {Rotary.Theta} is not a positive number");
        Require(Rotary.Sections is not { } sections || (sections.Count == PositionAxes.Count && sections.All(count => count >= 0) && sections.Sum() == HeadSize / 2),
            $"mrope_section [{string.Join(", ", Rotary.Sections ?? [])}] is not three counts that add up to half of the head size {HeadSize}");
        return this;

        void Require(bool holds, string otherwise)
        {
            if (!holds)
                throw new CheckpointException($"{path}: {otherwise}");
        }
    }
}
