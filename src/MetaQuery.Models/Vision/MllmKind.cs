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
    private const string NewRows = "model.embed_tokens.new_rows";

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
    /// <param name="mllm">As <see cref="Named"/> gives it.</param>
    public static string DecoderPrefix(WeightSource mllm)
    {
        ArgumentNullException.ThrowIfNull(mllm);
        return mllm.Contains(LanguageModel + TokenTable) || mllm.Contains(LanguageModel + NewRows) ? LanguageModel : "";
    }

    /// <summary>An MLLM's tensors under the names that transformers gave them up to 4.51, whichever the file has. Later ones put everything but the output head
    /// below <c>model.</c> (Qwen2_5_VLForConditionalGeneration and LlavaOnevisionForConditionalGeneration, _checkpoint_conversion_mapping).</summary>
    /// <returns><paramref name="mllm"/> itself where it has the earlier names.</returns>
    public static WeightSource Named(WeightSource mllm)
    {
        ArgumentNullException.ThrowIfNull(mllm);
        if (!mllm.Contains("model.language_model.embed_tokens.weight") && !mllm.Contains("model.language_model.embed_tokens.new_rows"))
            return mllm;
        var names = mllm.Contains("model.image_newline") ? LaterLlavaNames : LaterQwenNames;
        return new RenamedWeights(mllm, key => Replace(key, names, reverse: false), key => Replace(key, names, reverse: true));
    }

    // Earlier beginnings, and what they became.
    private static readonly (string Earlier, string Later)[] LaterQwenNames = [("visual.", "model.visual."), ("model.", "model.language_model.")];

    private static readonly (string Earlier, string Later)[] LaterLlavaNames =
    [
        ("language_model.model.", "model.language_model."), ("language_model.lm_head.", "lm_head."), ("vision_tower.", "model.vision_tower."),
        ("multi_modal_projector.", "model.multi_modal_projector."), ("image_newline", "model.image_newline"),
    ];

    private static string Replace(string key, (string Earlier, string Later)[] names, bool reverse)
    {
        foreach (var (earlier, later) in names)
        {
            var (from, to) = reverse ? (later, earlier) : (earlier, later);
            if (key.StartsWith(from, StringComparison.Ordinal))
                return to + key[from.Length..];
        }

        return key;
    }

    /// <summary>Loads an MLLM's vision tower.</summary>
    /// <param name="config">The MLLM's config.json.</param>
    /// <param name="mllm">The MLLM's tensors, as <see cref="Named"/> gives them; read during the call only.</param>
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
