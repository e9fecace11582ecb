using MetaQuery.Models.Checkpoints;
using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Models.Vision;

/// <summary>The families of MLLMs, by what stands beside their decoder.</summary>
public enum MllmKind
{
    /// <summary>No vision tower that is built here.</summary>
    Text,

    Qwen25Vl,

    LlavaOnevision,
}

/// <summary>What differs between the families' checkpoints.</summary>
public static class MllmKinds
{
    private const string LanguageModel = "language_model.";
    private const string TokenTable = "model.embed_tokens.weight";

    /// <param name="config">An MLLM's config.json.</param>
    /// <exception cref="CheckpointException">It states no model_type.</exception>
    public static MllmKind Of(ConfigFile config)
    {
        ArgumentNullException.ThrowIfNull(config);
        return config.String("model_type") switch
        {
            "qwen2_5_vl" => MllmKind.Qwen25Vl,
            "llava_onevision" => MllmKind.LlavaOnevision,
            _ => MllmKind.Text,
        };
    }

    /// <summary>What the names of the decoder's tensors begin with in an MLLM's checkpoint.</summary>
    public static string DecoderPrefix(WeightSource mllm)
    {
        ArgumentNullException.ThrowIfNull(mllm);
        return mllm.Contains(LanguageModel + TokenTable) || mllm.Contains(LanguageModel + "model.embed_tokens.new_rows") ? LanguageModel : "";
    }

    /// <summary>Loads an MLLM's vision tower.</summary>
    /// <param name="config">The MLLM's config.json.</param>
    /// <param name="mllm">The MLLM's tensors; read during the call only.</param>
    /// <returns>Null where the family has none.</returns>
    /// <exception cref="CheckpointException">A value or a tensor is missing or malformed.</exception>
    public static IVisionTower? LoadTower(ConfigFile config, WeightSource mllm, ScalarType dtype = ScalarType.Float32, Device? device = null, bool packed = false)
    {
        ArgumentNullException.ThrowIfNull(mllm);
        return Of(config) switch
        {
            MllmKind.Qwen25Vl => new QwenVisionTower(QwenVisionConfig.Read(config), mllm.WithPrefix("visual."), dtype, device, packed),
            MllmKind.LlavaOnevision => new LlavaOnevisionTower(LlavaOnevisionConfig.Read(config), mllm, dtype, device, packed),
            _ => null,
        };
    }
}
