using MetaQuery.Models.Checkpoints;

namespace MetaQuery.Pipelines;

/// <summary>The config.json of a MetaQuery model folder. Values that the file leaves out take the reference's defaults.</summary>
public sealed record MetaQueryConfig
{
    /// <summary>The MLLM: a GGUF file or a transformers folder, relative to the model folder.</summary>
    public required string Mllm { get; init; }

    /// <summary>N, the number of query tokens.</summary>
    public required int NumMetaqueries { get; init; }

    public required int ConnectorNumHiddenLayers { get; init; }

    /// <summary>The MLLM's hidden size where the file states it: checked against the MLLM.</summary>
    public int? MllmHiddenSize { get; init; }

    public int? ConnectorHiddenSize { get; init; }

    public int? ConnectorNumAttentionHeads { get; init; }

    public int? ConnectorIntermediateSize { get; init; }

    /// <summary>D, the condition's channels; null where the connector's weights tell.</summary>
    public int? ConditionChannels { get; init; }

    public int MaxInputTextTokens { get; init; } = 256;

    public string SystemPrompt { get; init; } = DefaultSystemPrompt;

    /// <summary>Height and width of the latents that the model was trained on.</summary>
    public int? InputSize { get; init; }

    /// <summary>Channels of the latents.</summary>
    public int? InChannels { get; init; }

    public int? VaeDownsampleFactor { get; init; }

    /// <summary>flow or diff.</summary>
    public string LossType { get; init; } = "flow";

    public int DefaultNumInferenceSteps { get; init; } = 30;

    public double DefaultGuidanceScale { get; init; } = 3.0;

    /// <summary>The reference's own (MLLMInContextConfig).</summary>
    public const string DefaultSystemPrompt =
        "You will be given an image or its caption. Please describe the content of the image in detail in your own words.";

    /// <exception cref="CheckpointException">The file is missing or malformed, or a value is missing, of another type or out of range.</exception>
    public static MetaQueryConfig Read(string path)
    {
        var json = ConfigFile.Open(path);
        if (json.String("model_type", "metaquery") is var type and not "metaquery")
            throw json.Error("model_type", $"is \"{type}\", a model folder's is \"metaquery\"");
        return new MetaQueryConfig
        {
            Mllm = json.String("mllm", "mllm"),
            NumMetaqueries = AtLeast(1, "num_metaqueries", json.Int32("num_metaqueries")),
            ConnectorNumHiddenLayers = AtLeast(0, "connector_num_hidden_layers", json.Int32("connector_num_hidden_layers", 24)),
            MllmHiddenSize = Positive("mllm_hidden_size"),
            ConnectorHiddenSize = Positive("connector_hidden_size"),
            ConnectorNumAttentionHeads = Positive("connector_num_attention_heads"),
            ConnectorIntermediateSize = Positive("connector_intermediate_size"),
            ConditionChannels = Positive("condition_channels") ?? Positive("caption_channels"),
            MaxInputTextTokens = AtLeast(1, "max_input_text_tokens", json.Int32("max_input_text_tokens", 256)),
            SystemPrompt = json.String("system_prompt", DefaultSystemPrompt),
            InputSize = Positive("input_size"),
            InChannels = Positive("in_channels"),
            VaeDownsampleFactor = Positive("vae_downsample_f"),
            LossType = json.String("loss_type", "flow"),
            DefaultNumInferenceSteps = AtLeast(1, "default_num_inference_steps", json.Int32("default_num_inference_steps", 30)),
            DefaultGuidanceScale = json.Double("default_guidance_scale", 3.0),
        };

        int? Positive(string name) => json.Has(name) ? AtLeast(1, name, json.Int32(name)) : null;

        int AtLeast(int least, string name, int value) =>
            value >= least ? value : throw json.Error(name, $"is {value}, it must be at least {least}");
    }
}
