using MetaQuery.Models.Checkpoints;

namespace MetaQuery.Models.Vision;

/// <summary>Sizes of a SigLIP encoder, of pictures or of text.</summary>
public sealed record SiglipEncoderConfig(int HiddenSize, int IntermediateSize, int NumHiddenLayers, int NumAttentionHeads, VisionActivation Activation, double LayerNormEpsilon)
{
    public int HeadSize => HiddenSize / NumAttentionHeads;

    internal static SiglipEncoderConfig Read(ConfigFile json)
    {
        // SiglipVisionConfig's and SiglipTextConfig's defaults agree in these.
        var config = new SiglipEncoderConfig(
            json.Int32("hidden_size", 768), json.Int32("intermediate_size", 3072), json.Int32("num_hidden_layers", 12), json.Int32("num_attention_heads", 12),
            VisionActivations.Read(json, "hidden_act", "gelu_pytorch_tanh"), json.Double("layer_norm_eps", 1e-6));
        if (config is not { HiddenSize: > 0, IntermediateSize: > 0, NumHiddenLayers: > 0, NumAttentionHeads: > 0 })
            throw json.Error("hidden_size", "and the other sizes must be positive");
        return config.HiddenSize % config.NumAttentionHeads == 0 ? config
            : throw json.Error("num_attention_heads", $"is {config.NumAttentionHeads}, which does not divide hidden_size {config.HiddenSize}");
    }
}

/// <summary>A SigLIP vision model: vision_config. Values that the file leaves out take transformers 4.49's defaults.</summary>
/// <param name="ImageSize">Side of the square picture, in pixels.</param>
/// <param name="UseHead">Whether an attention pooling head follows; LLaVA-OneVision has none.</param>
public sealed record SiglipVisionConfig(SiglipEncoderConfig Encoder, int ImageSize, int PatchSize, int Channels, bool UseHead)
{
    /// <summary>Patches from one side to the other; pixels beyond the last whole patch are not seen.</summary>
    public int PatchesPerSide => ImageSize / PatchSize;

    /// <param name="json">The section vision_config, or a file that is one.</param>
    /// <exception cref="CheckpointException">A value is malformed or not supported.</exception>
    public static SiglipVisionConfig Read(ConfigFile json)
    {
        ArgumentNullException.ThrowIfNull(json);
        if (json.String("model_type", "siglip_vision_model") is var type and not "siglip_vision_model")
            throw json.Error("model_type", $"is \"{type}\"; only siglip_vision_model is built");
        var config = new SiglipVisionConfig(
            SiglipEncoderConfig.Read(json), json.Int32("image_size", 224), json.Int32("patch_size", 16), json.Int32("num_channels", 3), json.Boolean("vision_use_head", true));
        if (config.Channels != 3)
            throw json.Error("num_channels", $"is {config.Channels}; pictures have 3 channels");
        return config.PatchSize > 0 && config.PatchesPerSide > 0 ? config
            : throw json.Error("patch_size", $"is {config.PatchSize}, the picture has {config.ImageSize} pixels a side");
    }
}

/// <summary>A SigLIP text model: text_config. Values that the file leaves out take transformers 4.49's defaults.</summary>
/// <param name="MaxPositionEmbeddings">Tokens of a text, padding included.</param>
/// <param name="ProjectionSize">Channels of a text's features.</param>
/// <param name="PadTokenId">Fills a text up; it is seen like any other token.</param>
public sealed record SiglipTextConfig(SiglipEncoderConfig Encoder, int VocabularySize, int MaxPositionEmbeddings, int ProjectionSize, long PadTokenId)
{
    /// <param name="json">The section text_config.</param>
    /// <exception cref="CheckpointException">A value is malformed or not supported.</exception>
    public static SiglipTextConfig Read(ConfigFile json)
    {
        ArgumentNullException.ThrowIfNull(json);
        var encoder = SiglipEncoderConfig.Read(json);
        return new SiglipTextConfig(
            encoder, json.Int32("vocab_size", 32000), json.Int32("max_position_embeddings", 64), json.Int32("projection_size", encoder.HiddenSize), json.Int64("pad_token_id", 1));
    }
}
