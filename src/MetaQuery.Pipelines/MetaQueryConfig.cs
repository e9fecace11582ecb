using MetaQuery.Models.Checkpoints;
using MetaQuery.Models.Connector;

namespace MetaQuery.Pipelines;

/// <summary>The config.json of a MetaQuery model folder. Values that the file leaves out take the reference's defaults.</summary>
public sealed record MetaQueryConfig
{
    /// <summary>The MLLM: a GGUF file or a transformers folder, relative to the model folder.</summary>
    public required string Mllm { get; init; }

    /// <summary>The reference's names of what its parts were downloaded from; a part that has no folder of its own is looked for under them.</summary>
    public string? MllmId { get; init; }

    public string? DiffusionModelId { get; init; }

    public string? VaeId { get; init; }

    public string? SchedulerId { get; init; }

    /// <summary>Whether config.json says that the MLLM was not trained: its layers are then the base model's, whichever file they are read from.</summary>
    public bool IsMllmFrozen { get; init; }

    /// <summary>N, the number of query tokens; 0: a condition is made of the prompt's own tokens, as the last layer leaves them.</summary>
    public required int NumMetaqueries { get; init; }

    /// <summary>Whether the queries were never trained: they are then drawn from <see cref="QuerySeed"/>, whatever the checkpoint holds.</summary>
    public bool HasRandomQueries { get; init; }

    public ulong QuerySeed { get; init; }

    /// <summary>Tokens that a condition of prompt tokens has room for (<see cref="NumMetaqueries"/> 0).</summary>
    public int MaxConditionTokens { get; init; }

    /// <summary>Rows of a condition: N, or the room for a prompt's tokens.</summary>
    public int ConditionTokens => NumMetaqueries > 0 ? NumMetaqueries : MaxConditionTokens;

    public ConnectorKind ConnectorKind { get; init; } = ConnectorKind.EncoderProjection;

    public required int ConnectorNumHiddenLayers { get; init; }

    /// <summary>The MLLM's hidden size where the file states it: checked against the MLLM.</summary>
    public int? MllmHiddenSize { get; init; }

    public int? ConnectorHiddenSize { get; init; }

    public int? ConnectorNumAttentionHeads { get; init; }

    public int? ConnectorIntermediateSize { get; init; }

    /// <summary>D, the condition's channels; null where the connector's weights tell.</summary>
    public int? ConditionChannels { get; init; }

    public int MaxInputTextTokens { get; init; } = 256;

    /// <summary>Null where config.json says null: prompts then have no system turn, and the chat template may put its own there.</summary>
    public string? SystemPrompt { get; init; } = DefaultSystemPrompt;

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
        var maxText = AtLeast(1, "max_input_text_tokens", json.Int32("max_input_text_tokens", 256));
        return new MetaQueryConfig
        {
            Mllm = json.String("mllm", "mllm"),
            MllmId = json.OptionalString("mllm_id"),
            DiffusionModelId = json.OptionalString("diffusion_model_id"),
            VaeId = json.OptionalString("vae_id"),
            SchedulerId = json.OptionalString("scheduler_id"),
            IsMllmFrozen = json.Has("modules_to_freeze") && json.Strings("modules_to_freeze").Contains("model.mllm_backbone", StringComparer.Ordinal),
            NumMetaqueries = AtLeast(0, "num_metaqueries", json.Int32("num_metaqueries")),
            ConnectorNumHiddenLayers = AtLeast(0, "connector_num_hidden_layers", json.Int32("connector_num_hidden_layers", 24)),
            MllmHiddenSize = Positive("mllm_hidden_size"),
            ConnectorHiddenSize = Positive("connector_hidden_size"),
            ConnectorNumAttentionHeads = Positive("connector_num_attention_heads"),
            ConnectorIntermediateSize = Positive("connector_intermediate_size"),
            ConditionChannels = Positive("condition_channels") ?? Positive("caption_channels"),
            MaxInputTextTokens = maxText,
            // the template's own tokens are some dozens; a picture's some hundreds, which whoever has them states
            MaxConditionTokens = AtLeast(1, "max_condition_tokens", json.Int32("max_condition_tokens", maxText + 256)),
            HasRandomQueries = OneOf("queries", "learned", "random") == 1,
            QuerySeed = (ulong)Math.Max(0, json.Int64("query_seed", 0)),
            ConnectorKind = (ConnectorKind)OneOf("connector_type", "enc-proj", "proj-enc"),
            // here null is no default: the reference writes None for no system turn
            SystemPrompt = json.Names.Contains("system_prompt", StringComparer.Ordinal) ? json.OptionalString("system_prompt") : DefaultSystemPrompt,
            InputSize = Positive("input_size"),
            InChannels = Positive("in_channels"),
            VaeDownsampleFactor = Positive("vae_downsample_f"),
            LossType = json.String("loss_type", "flow"),
            DefaultNumInferenceSteps = AtLeast(1, "default_num_inference_steps", json.Int32("default_num_inference_steps", 30)),
            DefaultGuidanceScale = json.Double("default_guidance_scale", 3.0),
        };

        int OneOf(string name, params string[] values) =>
            Array.IndexOf(values, json.String(name, values[0])) is >= 0 and var index ? index : throw json.Error(name, $"is \"{json.String(name)}\", it must be {string.Join(" or ", values)}");

        int? Positive(string name) => json.Has(name) ? AtLeast(1, name, json.Int32(name)) : null;

        int AtLeast(int least, string name, int value) =>
            value >= least ? value : throw json.Error(name, $"is {value}, it must be at least {least}");
    }
}
