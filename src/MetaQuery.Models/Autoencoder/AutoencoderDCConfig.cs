using MetaQuery.Models.Checkpoints;
using MetaQuery.Models.Layers;

namespace MetaQuery.Models.Autoencoder;

/// <summary>One half of the autoencoder, stage by stage from the finest resolution to the coarsest.</summary>
/// <param name="BlockTypes">"ResBlock" or "EfficientViTBlock".</param>
/// <param name="Channels">Width of each stage.</param>
/// <param name="Layers">Blocks of each stage; 0 in the first makes it a resampling only.</param>
/// <param name="QkvMultiscales">Kernel sizes of the attention's extra scales.</param>
/// <param name="Activations">"silu" or "relu", of the ResBlocks.</param>
public sealed record AutoencoderDCStages(
    IReadOnlyList<string> BlockTypes, IReadOnlyList<int> Channels, IReadOnlyList<int> Layers,
    IReadOnlyList<int[]> QkvMultiscales, IReadOnlyList<string> Activations);

/// <summary>What an AutoencoderDC's config.json states (diffusers 0.33).</summary>
public sealed record AutoencoderDCConfig
{
    public required int InChannels { get; init; }

    public required int LatentChannels { get; init; }

    /// <summary>Head size of the linear attention, and the largest number of positions that uses its quadratic form.</summary>
    public required int AttentionHeadDim { get; init; }

    public required AutoencoderDCStages Encoder { get; init; }

    public required AutoencoderDCStages Decoder { get; init; }

    /// <summary>Pixel shuffling instead of interpolation before the convolution.</summary>
    public required bool PixelShuffleUp { get; init; }

    /// <summary>Pixel unshuffling instead of a strided convolution.</summary>
    public required bool PixelUnshuffleDown { get; init; }

    /// <summary>Latents that leave the encoder are multiplied by it, those that enter the decoder divided.</summary>
    public required double ScalingFactor { get; init; }

    /// <summary>Pixels along a side per latent.</summary>
    public int SpatialCompressionRatio => 1 << (Encoder.Channels.Count - 1);

    /// <exception cref="CheckpointException">A value is missing, not supported, or stages disagree in number.</exception>
    public static AutoencoderDCConfig Read(ConfigFile file)
    {
        var reader = new ConfigReader(file);
        var up = reader.Text("upsample_block_type", "pixel_shuffle")!;
        if (up is not ("pixel_shuffle" or "interpolate"))
        {
            throw reader.Unsupported("upsample_block_type", up, "pixel_shuffle or interpolate");
        }

        var down = reader.Text("downsample_block_type", "pixel_unshuffle")!;
        if (down is not ("pixel_unshuffle" or "conv" or "Conv"))
        {
            throw reader.Unsupported("downsample_block_type", down, "pixel_unshuffle or conv");
        }

        var config = new AutoencoderDCConfig
        {
            InChannels = reader.Integer("in_channels", 3),
            LatentChannels = reader.Integer("latent_channels", 32),
            AttentionHeadDim = reader.Integer("attention_head_dim", 32),
            Encoder = Stages(reader, "encoder"),
            Decoder = Stages(reader, "decoder"),
            PixelShuffleUp = up == "pixel_shuffle",
            PixelUnshuffleDown = down == "pixel_unshuffle",
            ScalingFactor = reader.Number("scaling_factor", 1.0),
        };
        if (config.Encoder.Channels.Count != config.Decoder.Channels.Count)
        {
            throw reader.Unsupported("decoder_block_out_channels", $"{config.Decoder.Channels.Count} stages", $"the encoder's {config.Encoder.Channels.Count}");
        }

        if (config.LatentChannels < 1 || config.AttentionHeadDim < 1 || !(config.ScalingFactor > 0)
            || config.Encoder.Channels[^1] % config.LatentChannels != 0 || config.Decoder.Channels[^1] % config.LatentChannels != 0)
        {
            throw reader.Unsupported("latent_channels", config.LatentChannels, "a divisor of both last stages' channels, beside positive sizes");
        }

        return config;
    }

    private static AutoencoderDCStages Stages(ConfigReader reader, string side)
    {
        var channels = reader.Integers($"{side}_block_out_channels", 128, 256, 512, 512, 1024, 1024);
        var types = reader.TextPerStage($"{side}_block_types", channels.Length, "ResBlock");
        var layers = reader.Integers($"{side}_layers_per_block", side == "encoder" ? [2, 2, 2, 3, 3, 3] : [3, 3, 3, 3, 3, 3]);
        var multiscales = reader.IntegerLists($"{side}_qkv_multiscales", [[], [], [], [5], [5], [5]]);
        // The encoder's files state neither; diffusers builds it with these.
        var activations = side == "decoder"
            ? reader.TextPerStage("decoder_act_fns", channels.Length, "silu")
            : [.. Enumerable.Repeat("silu", channels.Length)];
        var norms = side == "decoder" ? reader.TextPerStage("decoder_norm_types", channels.Length, "rms_norm") : [];
        if (channels.Length < 2 || types.Length != channels.Length || layers.Length != channels.Length
            || multiscales.Length != channels.Length || activations.Length != channels.Length)
        {
            throw reader.Unsupported(
                $"{side}_block_out_channels", $"a list of {channels.Length}", "at least 2 stages, as many as block_types, layers_per_block and qkv_multiscales");
        }

        if (Array.Find(types, type => type is not ("ResBlock" or "EfficientViTBlock")) is { } badType)
        {
            throw reader.Unsupported($"{side}_block_types", badType, "ResBlock or EfficientViTBlock");
        }

        if (Array.Find(norms, norm => norm != "rms_norm") is { } badNorm)
        {
            throw reader.Unsupported("decoder_norm_types", badNorm, "rms_norm");
        }

        if (Array.Find(activations, activation => activation is not ("silu" or "relu")) is { } badActivation)
        {
            throw reader.Unsupported("decoder_act_fns", badActivation, "silu or relu");
        }

        if (Array.Exists(channels, count => count < 1))
        {
            throw reader.Unsupported($"{side}_block_out_channels", string.Join(", ", channels), "numbers of at least 1");
        }

        return new AutoencoderDCStages(types, channels, layers, multiscales, activations);
    }
}
