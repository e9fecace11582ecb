using MetaQuery.Models.Checkpoints;
using MetaQuery.Models.Layers;
using TorchSharp;

namespace MetaQuery.Models.Diffusion;

/// <summary>One resolution of a UNet.</summary>
/// <param name="HasAttention">CrossAttnDownBlock2D or CrossAttnUpBlock2D; DownBlock2D or UpBlock2D otherwise.</param>
/// <param name="Channels">Width.</param>
/// <param name="Layers">Residual blocks on the way down; one more on the way up.</param>
/// <param name="Heads">Attention heads.</param>
/// <param name="TransformerLayers">Transformer blocks behind each residual block, on the way down and in the middle.</param>
/// <param name="CrossAttentionDim">Channels of the condition.</param>
/// <param name="OnlyCrossAttention">Both attentions of a transformer block read the condition.</param>
public sealed record UNetStage(
    bool HasAttention, int Channels, int Layers, int Heads, int TransformerLayers, int CrossAttentionDim, bool OnlyCrossAttention);

/// <summary>What a UNet2DConditionModel's config.json states (diffusers 0.33), for networks built as Stable Diffusion's.</summary>
public sealed record UNet2DConditionConfig
{
    public required int InChannels { get; init; }

    public required int OutChannels { get; init; }

    /// <summary>Latent height and width that the model was trained at; null where the file does not say.</summary>
    public required int? SampleSize { get; init; }

    /// <summary>From the finest resolution to the coarsest, on the way down.</summary>
    public required IReadOnlyList<UNetStage> Down { get; init; }

    /// <summary>From the coarsest resolution to the finest, on the way up.</summary>
    public required IReadOnlyList<UNetStage> Up { get; init; }

    /// <summary>UNetMidBlock2DCrossAttn, UNetMidBlock2D or null for none.</summary>
    public required string? MidBlockType { get; init; }

    public required double MidBlockScaleFactor { get; init; }

    public required int NormNumGroups { get; init; }

    public required double NormEpsilon { get; init; }

    /// <summary>Zeros on each side of the down-sampling convolutions; with 0, below and to the right alone.</summary>
    public required int DownsamplePadding { get; init; }

    /// <summary>Linear layers instead of 1 × 1 convolutions round the transformers (Stable Diffusion 2).</summary>
    public required bool UseLinearProjection { get; init; }

    /// <summary>The time embedding scales and shifts the second norm of a residual block instead of being added before it.</summary>
    public required bool TimeScaleShift { get; init; }

    public required int TimeEmbeddingDim { get; init; }

    public required bool CosinesFirst { get; init; }

    public required double FrequencyShift { get; init; }

    /// <summary>The latents are taken as 2 x − 1.</summary>
    public required bool CenterInputSample { get; init; }

    public required int ConvInKernel { get; init; }

    public required int ConvOutKernel { get; init; }

    internal Func<torch.Tensor, torch.Tensor> Activation { get; init; } = x => torch.nn.functional.silu(x);

    internal Func<torch.Tensor, torch.Tensor>? TimeEmbeddingActivation { get; init; }

    internal Func<torch.Tensor, torch.Tensor>? TimestepPostActivation { get; init; }

    /// <summary>Channels of the condition.</summary>
    public int CrossAttentionDim => Down[^1].CrossAttentionDim;

    /// <param name="file">config.json.</param>
    /// <exception cref="CheckpointException">A value is missing, makes no sense, or asks for a part that is not built.</exception>
    public static UNet2DConditionConfig Read(ConfigFile file)
    {
        var reader = new ConfigReader(file);
        reader.RefuseUnlessAbsent(
            "encoder_hid_dim", "encoder_hid_dim_type", "class_embed_type", "num_class_embeds", "addition_embed_type", "time_cond_proj_dim",
            "dual_cross_attention", "class_embeddings_concat", "num_attention_heads");
        reader.OneOf("attention_type", "default", "default");
        reader.OneOf("time_embedding_type", "positional", "positional");
        var (down, up) = Stages(reader);
        var config = new UNet2DConditionConfig
        {
            InChannels = Positive(reader, "in_channels", 4),
            OutChannels = Positive(reader, "out_channels", 4),
            SampleSize = reader.OptionalNumber("sample_size") is null ? null : Positive(reader, "sample_size", 64),
            Down = down,
            Up = up,
            MidBlockType = file.Names.Contains("mid_block_type") && !file.Has("mid_block_type")
                ? null
                : reader.OneOf("mid_block_type", "UNetMidBlock2DCrossAttn", "UNetMidBlock2DCrossAttn", "UNetMidBlock2D"),
            MidBlockScaleFactor = reader.Number("mid_block_scale_factor", 1),
            NormNumGroups = Positive(reader, "norm_num_groups", 32),
            NormEpsilon = reader.Number("norm_eps", 1e-5),
            DownsamplePadding = reader.Integer("downsample_padding", 1),
            UseLinearProjection = reader.Flag("use_linear_projection", false),
            TimeScaleShift = reader.OneOf("resnet_time_scale_shift", "default", "default", "scale_shift") == "scale_shift",
            TimeEmbeddingDim = Positive(reader, "time_embedding_dim", 4 * down[0].Channels),
            CosinesFirst = reader.Flag("flip_sin_to_cos", true),
            FrequencyShift = reader.Number("freq_shift", 0),
            CenterInputSample = reader.Flag("center_input_sample", false),
            ConvInKernel = Odd(reader, "conv_in_kernel"),
            ConvOutKernel = Odd(reader, "conv_out_kernel"),
            Activation = Layers.Activation.Read(reader, "act_fn", "silu"),
            TimeEmbeddingActivation = Layers.Activation.ReadOptional(reader, "time_embedding_act_fn"),
            TimestepPostActivation = Layers.Activation.ReadOptional(reader, "timestep_post_act"),
        };
        if (down.FirstOrDefault(stage => stage.Channels % config.NormNumGroups != 0) is { } odd)
        {
            throw reader.Unsupported("norm_num_groups", config.NormNumGroups, $"a divisor of every stage's channels, {odd.Channels} among them");
        }

        return config;
    }

    private static (UNetStage[] Down, UNetStage[] Up) Stages(ConfigReader reader)
    {
        var channels = reader.Integers("block_out_channels", 320, 640, 1280, 1280);
        var count = channels.Length;
        if (count < 1 || Array.Exists(channels, width => width < 1))
        {
            throw reader.Unsupported("block_out_channels", $"[{string.Join(", ", channels)}]", "one number of at least 1 per stage");
        }

        var down = Types(reader, "down_block_types", count, "DownBlock2D", "CrossAttnDownBlock2D");
        var up = Types(reader, "up_block_types", count, "UpBlock2D", "CrossAttnUpBlock2D");
        // attention_head_dim holds the number of heads: a slip of diffusers' that became the format.
        var heads = reader.IntegerPerStage("attention_head_dim", count, 8);
        var layers = reader.IntegerPerStage("layers_per_block", count, 2);
        var depths = reader.IntegerPerStage("transformer_layers_per_block", count, 1);
        var upDepths = reader.IntegerPerStage("reverse_transformer_layers_per_block", count, -1);
        var condition = reader.IntegerPerStage("cross_attention_dim", count, 1280);
        var only = reader.FlagPerStage("only_cross_attention", count, otherwise: false);
        foreach (var (key, values) in new[] { ("attention_head_dim", heads), ("transformer_layers_per_block", depths), ("cross_attention_dim", condition) })
        {
            if (Array.Exists(values, value => value < 1))
            {
                throw reader.Unsupported(key, $"[{string.Join(", ", values)}]", "numbers of at least 1");
            }
        }

        if (condition.Distinct().Count() > 1)
        {
            throw reader.Unsupported("cross_attention_dim", $"[{string.Join(", ", condition)}]", "the same number everywhere: one condition serves all stages");
        }

        for (var i = 0; i < count; i++)
        {
            if (channels[i] < heads[i])
            {
                throw reader.Unsupported("attention_head_dim", heads[i], $"at most a stage's channels, {channels[i]}: it is the number of heads");
            }
        }

        UNetStage Stage(bool attention, int i, int depth) => new(attention, channels[i], layers[i], heads[i], depth, condition[i], only[i]);
        return (
            [.. Enumerable.Range(0, count).Select(i => Stage(down[i], i, depths[i]))],
            [.. Enumerable.Range(0, count).Select(i => Stage(up[i], count - 1 - i, upDepths[i] < 1 ? depths[count - 1 - i] : upDepths[i]))]);
    }

    // Whether each block has attention.
    private static bool[] Types(ConfigReader reader, string key, int count, string plain, string attending)
    {
        var usual = key[0] == 'd'
            ? Enumerable.Range(0, count).Select(i => i < count - 1 ? attending : plain)
            : Enumerable.Range(0, count).Select(i => i > 0 ? attending : plain);
        string[] types = reader.TextPerStage(key, count, "") is var given && given.All(type => type.Length == 0) ? [.. usual] : given;
        return types.Length != count ? throw reader.Unsupported(key, $"a list of {types.Length}", $"one of {count}, as many as block_out_channels")
            : Array.Find(types, type => type != plain && type != attending) is { } other ? throw reader.Unsupported(key, other, $"{plain} or {attending}")
            : Array.ConvertAll(types, type => type == attending);
    }

    private static int Positive(ConfigReader reader, string key, int otherwise) =>
        reader.Integer(key, otherwise) is var value and >= 1 ? value : throw reader.Unsupported(key, 0, "a whole number of at least 1");

    private static int Odd(ConfigReader reader, string key) =>
        reader.Integer(key, 3) is var value && value % 2 == 1 ? value : throw reader.Unsupported(key, value, "an odd number");
}
