using MetaQuery.Models.Checkpoints;
using MetaQuery.Models.Layers;

namespace MetaQuery.Models.Diffusion;

/// <summary>What a SanaTransformer2DModel's config.json states (diffusers 0.33).</summary>
public sealed record SanaTransformerConfig
{
    public required int InChannels { get; init; }

    public required int OutChannels { get; init; }

    /// <summary>Heads of the linear self-attention.</summary>
    public required int NumAttentionHeads { get; init; }

    public required int AttentionHeadDim { get; init; }

    public required int NumLayers { get; init; }

    public required int NumCrossAttentionHeads { get; init; }

    public required int CrossAttentionHeadDim { get; init; }

    /// <summary>Width of the projected condition that cross-attention reads.</summary>
    public required int CrossAttentionDim { get; init; }

    /// <summary>Width of the condition as it is given.</summary>
    public required int CaptionChannels { get; init; }

    public required double MlpRatio { get; init; }

    /// <summary>Whether self-attention's q, k and v have a bias.</summary>
    public required bool AttentionBias { get; init; }

    /// <summary>Latent height and width that the model was trained at.</summary>
    public required int SampleSize { get; init; }

    public required int PatchSize { get; init; }

    /// <summary>Whether the norm before the feed-forward has γ and β; the one before self-attention never has.</summary>
    public required bool NormElementwiseAffine { get; init; }

    public required double NormEpsilon { get; init; }

    /// <summary>If present there are sine-cosine positions; otherwise none at all.</summary>
    public required double? InterpolationScale { get; init; }

    /// <summary>RMS norms of q and k over all heads together (Sana 1.5).</summary>
    public required bool QkNorm { get; init; }

    /// <summary>The guidance scale is an input (Sana Sprint).</summary>
    public required bool GuidanceEmbeds { get; init; }

    /// <summary>What a caller multiplies the guidance scale by; the model itself does not.</summary>
    public required double GuidanceEmbedsScale { get; init; }

    /// <summary>What a caller multiplies timesteps by; the model itself does not.</summary>
    public required double TimestepScale { get; init; }

    /// <summary>Width of the token stream.</summary>
    public int Width => NumAttentionHeads * AttentionHeadDim;

    /// <summary>Width of cross-attention's heads together.</summary>
    public int CrossWidth => NumCrossAttentionHeads * CrossAttentionHeadDim;

    /// <param name="file">config.json.</param>
    /// <exception cref="CheckpointException">A value is missing or makes no sense.</exception>
    public static SanaTransformerConfig Read(ConfigFile file)
    {
        var reader = new ConfigReader(file);
        var inChannels = reader.Integer("in_channels", 32);
        var qkNorm = reader.Text("qk_norm", null);
        if (qkNorm is not (null or "rms_norm_across_heads"))
        {
            throw reader.Unsupported("qk_norm", qkNorm, "null or rms_norm_across_heads");
        }

        var config = new SanaTransformerConfig
        {
            InChannels = inChannels,
            OutChannels = reader.Integer("out_channels", inChannels),
            NumAttentionHeads = reader.Integer("num_attention_heads", 70),
            AttentionHeadDim = reader.Integer("attention_head_dim", 32),
            NumLayers = reader.Integer("num_layers", 20),
            NumCrossAttentionHeads = reader.Integer("num_cross_attention_heads", 20),
            CrossAttentionHeadDim = reader.Integer("cross_attention_head_dim", 112),
            CrossAttentionDim = reader.Integer("cross_attention_dim", 2240),
            CaptionChannels = reader.Integer("caption_channels", 2304),
            MlpRatio = reader.Number("mlp_ratio", 2.5),
            AttentionBias = reader.Flag("attention_bias", false),
            SampleSize = reader.Integer("sample_size", 32),
            PatchSize = reader.Integer("patch_size", 1),
            NormElementwiseAffine = reader.Flag("norm_elementwise_affine", false),
            NormEpsilon = reader.Number("norm_eps", 1e-6),
            InterpolationScale = reader.OptionalNumber("interpolation_scale"),
            QkNorm = qkNorm is not null,
            GuidanceEmbeds = reader.Flag("guidance_embeds", false),
            GuidanceEmbedsScale = reader.Number("guidance_embeds_scale", 0.1),
            TimestepScale = reader.Number("timestep_scale", 1.0),
        };
        ReadOnlySpan<(string Key, int Value)> sizes =
        [
            ("in_channels", config.InChannels), ("out_channels", config.OutChannels), ("num_attention_heads", config.NumAttentionHeads),
            ("attention_head_dim", config.AttentionHeadDim), ("num_cross_attention_heads", config.NumCrossAttentionHeads),
            ("cross_attention_head_dim", config.CrossAttentionHeadDim), ("cross_attention_dim", config.CrossAttentionDim),
            ("caption_channels", config.CaptionChannels), ("sample_size", config.SampleSize), ("patch_size", config.PatchSize),
        ];
        foreach (var (key, value) in sizes)
        {
            if (value < 1)
            {
                throw reader.Unsupported(key, value, "a whole number of at least 1");
            }
        }

        // caption_projection ends at the model's width, and that is what cross-attention reads.
        return config.CrossAttentionDim == config.Width
            ? config
            : throw reader.Unsupported("cross_attention_dim", config.CrossAttentionDim, $"num_attention_heads * attention_head_dim = {config.Width}");
    }
}
