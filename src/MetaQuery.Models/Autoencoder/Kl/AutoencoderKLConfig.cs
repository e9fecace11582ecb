using MetaQuery.Models.Checkpoints;
using MetaQuery.Models.Layers;
using TorchSharp;

namespace MetaQuery.Models.Autoencoder;

/// <summary>What an AutoencoderKL's config.json states (diffusers 0.33).</summary>
public sealed record AutoencoderKLConfig
{
    public required int InChannels { get; init; }

    public required int OutChannels { get; init; }

    public required int LatentChannels { get; init; }

    /// <summary>Width of each stage, from the finest resolution to the coarsest.</summary>
    public required IReadOnlyList<int> Channels { get; init; }

    /// <summary>Residual blocks of each stage of the encoder; the decoder has one more.</summary>
    public required int LayersPerBlock { get; init; }

    public required int NormNumGroups { get; init; }

    /// <summary>Height and width of the pictures that it was trained on.</summary>
    public required int SampleSize { get; init; }

    /// <summary>Latents that leave the encoder are multiplied by it, those that enter the decoder divided.</summary>
    public required double ScalingFactor { get; init; }

    /// <summary>Taken from latents before they are scaled, and added behind.</summary>
    public required double ShiftFactor { get; init; }

    public required bool UseQuantConv { get; init; }

    public required bool UsePostQuantConv { get; init; }

    public required bool MidBlockAddAttention { get; init; }

    internal Func<torch.Tensor, torch.Tensor> Activation { get; init; } = x => torch.nn.functional.silu(x);

    /// <summary>Pixels along a side per latent.</summary>
    public int SpatialCompressionRatio => 1 << (Channels.Count - 1);

    /// <param name="file">config.json.</param>
    /// <exception cref="CheckpointException">A value is missing, makes no sense, or asks for a part that is not built.</exception>
    public static AutoencoderKLConfig Read(ConfigFile file)
    {
        var reader = new ConfigReader(file);
        reader.RefuseUnlessAbsent("latents_mean", "latents_std");
        var channels = reader.Integers("block_out_channels", 64);
        CheckTypes(reader, "down_block_types", "DownEncoderBlock2D", channels.Length);
        CheckTypes(reader, "up_block_types", "UpDecoderBlock2D", channels.Length);
        var config = new AutoencoderKLConfig
        {
            InChannels = reader.Integer("in_channels", 3),
            OutChannels = reader.Integer("out_channels", 3),
            LatentChannels = reader.Integer("latent_channels", 4),
            Channels = channels,
            LayersPerBlock = reader.Integer("layers_per_block", 1),
            NormNumGroups = reader.Integer("norm_num_groups", 32),
            SampleSize = reader.Integer("sample_size", 32),
            ScalingFactor = reader.Number("scaling_factor", 0.18215),
            ShiftFactor = reader.Number("shift_factor", 0),
            UseQuantConv = reader.Flag("use_quant_conv", true),
            UsePostQuantConv = reader.Flag("use_post_quant_conv", true),
            MidBlockAddAttention = reader.Flag("mid_block_add_attention", true),
            Activation = Layers.Activation.Read(reader, "act_fn", "silu"),
        };
        if (channels.Length < 1 || config.NormNumGroups < 1 || Array.Exists(channels, width => width < 1 || width % config.NormNumGroups != 0))
        {
            throw reader.Unsupported("block_out_channels", $"[{string.Join(", ", channels)}]", $"numbers divisible by norm_num_groups = {config.NormNumGroups}");
        }

        if (config.InChannels < 1 || config.OutChannels < 1 || config.LatentChannels < 1 || !(config.ScalingFactor > 0))
        {
            throw reader.Unsupported("latent_channels", config.LatentChannels, "a number of at least 1, as of in_channels and out_channels, with a scaling_factor above 0");
        }

        return config;
    }

    private static void CheckTypes(ConfigReader reader, string key, string supported, int stages)
    {
        var types = reader.TextPerStage(key, stages, supported);
        if (types.Length != stages || Array.Exists(types, type => type != supported))
        {
            throw reader.Unsupported(key, $"[{string.Join(", ", types)}]", $"{supported} for each of {stages} stages");
        }
    }
}
