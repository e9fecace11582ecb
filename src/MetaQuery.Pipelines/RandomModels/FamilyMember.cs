namespace MetaQuery.Pipelines.RandomModels;

/// <summary>A member of the MetaQuery family by its configuration files, as the parts are published; <c>tiny</c> has the same parts at sizes for tests.</summary>
internal sealed record FamilyMember
{
    public required string Mllm { get; init; }

    public required string Preprocessor { get; init; }

    public required IReadOnlyList<(int Id, string Content)> SpecialTokens { get; init; }

    public required string ChatTemplate { get; init; }

    /// <summary>transformer or unet.</summary>
    public required string NetworkFolder { get; init; }

    public required string Network { get; init; }

    public required string Vae { get; init; }

    public required string Scheduler { get; init; }

    public required int NumMetaqueries { get; init; }

    public required int ConnectorLayers { get; init; }

    public required int ConditionChannels { get; init; }

    /// <summary>input_size, in_channels and vae_downsample_f.</summary>
    public required (int Side, int Channels, int Ratio) Latents { get; init; }

    private string LossType => NetworkFolder == "unet" ? "diff" : "flow";

    public static IReadOnlyList<string> Names { get; } =
        ["metaquery-b", "metaquery-l", "metaquery-xl", "metaquery-b-sd", "metaquery-l-sd", "metaquery-xl-sd", "tiny", "tiny-sd", "tiny-llava", "tiny-llava-sd"];

    /// <summary>The model folder's config.json.</summary>
    public string Config => $$"""
        {
          "model_type": "metaquery", "mllm": "mllm", "num_metaqueries": {{NumMetaqueries}}, "connector_num_hidden_layers": {{ConnectorLayers}},
          "condition_channels": {{ConditionChannels}}, "max_input_text_tokens": 256, "in_channels": {{Latents.Channels}}, "input_size": {{Latents.Side}},
          "vae_downsample_f": {{Latents.Ratio}}, "loss_type": "{{LossType}}", "default_num_inference_steps": 30, "default_guidance_scale": 3.0
        }
        """;

    /// <exception cref="PipelineException">There is no such member.</exception>
    public static FamilyMember Find(string name)
    {
        var (size, isStableDiffusion) = name.EndsWith("-sd", StringComparison.Ordinal) ? (name[..^3], true) : (name, false);
        if (!Names.Contains(name))
            throw new PipelineException($"family {name} is not known; there are {string.Join(", ", Names)}");
        var isTiny = size.StartsWith("tiny", StringComparison.Ordinal);
        var isLlava = size is "metaquery-b" or "tiny-llava";
        return new FamilyMember
        {
            Mllm = size switch { "metaquery-b" => MllmFiles.LlavaOnevision, "metaquery-l" => MllmFiles.Qwen3B, "metaquery-xl" => MllmFiles.Qwen7B, "tiny-llava" => MllmFiles.LlavaTiny, _ => MllmFiles.QwenTiny },
            Preprocessor = isLlava ? (isTiny ? MllmFiles.LlavaTinyPreprocessor : MllmFiles.LlavaPreprocessor) : MllmFiles.QwenPreprocessor,
            SpecialTokens = isLlava ? MllmFiles.LlavaTokens(isTiny ? 600 : 151643) : MllmFiles.QwenTokens(isTiny ? 600 : 151643),
            ChatTemplate = isLlava ? MllmFiles.LlavaTemplate : MllmFiles.QwenTemplate,
            NetworkFolder = isStableDiffusion ? "unet" : "transformer",
            Network = (isStableDiffusion, isTiny) switch
            {
                (true, true) => DiffusionFiles.UNetTiny, (true, false) => DiffusionFiles.UNet, (false, true) => DiffusionFiles.SanaTiny, _ => DiffusionFiles.Sana,
            },
            Vae = (isStableDiffusion, isTiny) switch
            {
                (true, true) => DiffusionFiles.KlTiny, (true, false) => DiffusionFiles.Kl, (false, true) => DiffusionFiles.DeepCompressionTiny, _ => DiffusionFiles.DeepCompression,
            },
            Scheduler = isStableDiffusion ? DiffusionFiles.Pndm : DiffusionFiles.DpmSolver,
            NumMetaqueries = isTiny ? 8 : isStableDiffusion ? 77 : 256,
            ConnectorLayers = isTiny ? 2 : 24,
            ConditionChannels = isTiny ? 48 : isStableDiffusion ? 768 : 2304,
            Latents = (isStableDiffusion, isTiny) switch { (true, true) => (8, 4, 4), (true, false) => (64, 4, 8), (false, true) => (4, 8, 8), _ => (16, 32, 32) },
        };
    }
}
