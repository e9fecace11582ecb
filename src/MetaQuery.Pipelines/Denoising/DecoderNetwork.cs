using MetaQuery.Models.Autoencoder;
using MetaQuery.Models.Checkpoints;

namespace MetaQuery.Pipelines;

/// <summary>The weights of an autoencoder's decoder, whatever its family.</summary>
internal abstract class DecoderNetwork : IDisposable
{
    /// <summary>Channels of the latents.</summary>
    public abstract int LatentChannels { get; }

    /// <summary>Pixels along a side per latent.</summary>
    public abstract int Ratio { get; }

    /// <summary>False where plain tensor operators run.</summary>
    public virtual bool IsFused => false;

    /// <param name="folder">vae/.</param>
    /// <param name="options">Dtype, device and tiles.</param>
    /// <exception cref="CheckpointException">The folder is malformed, or its class is neither AutoencoderDC nor AutoencoderKL.</exception>
    public static DecoderNetwork Load(string folder, ImageModelOptions options)
    {
        var source = HuggingFaceFolder.Open(folder);
        var config = source.ReadConfig();
        // Without a class name, a key that only an AutoencoderKL has tells.
        return config.String("_class_name", config.Has("down_block_types") ? "AutoencoderKL" : "AutoencoderDC") switch
        {
            "AutoencoderDC" => new DeepCompressionDecoder(source, AutoencoderDCConfig.Read(config), options),
            "AutoencoderKL" => new KlDecoderNetwork(source, AutoencoderKLConfig.Read(config), options),
            var other => throw config.Error("_class_name", $"is \"{other}\", expected AutoencoderDC or AutoencoderKL"),
        };
    }

    /// <summary>The decoder as one slot uses it.</summary>
    public abstract LatentDecoder CreateDecoder(int threads);

    public abstract void Dispose();
}

/// <summary>DC-AE's, by the fused kernels where they serve.</summary>
internal sealed class DeepCompressionDecoder : DecoderNetwork
{
    private readonly AutoencoderDCConfig config;
    private readonly ImageModelOptions options;
    private readonly FusedDecoder? fused;
    private readonly AutoencoderDC? plain;

    public DeepCompressionDecoder(HuggingFaceFolder folder, AutoencoderDCConfig config, ImageModelOptions options)
    {
        (this.config, this.options) = (config, options);
        using var weights = folder.OpenWeights();
        if (options.MayFuse && FusedDecoder.WhyUnsupported(config, options.Precision) is null)
        {
            fused = FusedDecoder.Load(weights, config, options.Precision);
        }
        else
        {
            plain = AutoencoderDC.Load(weights, config, options.Dtype, withEncoder: false, device: options.Device);
            plain.Tiling = options.Tiling;
        }
    }

    public override int LatentChannels => config.LatentChannels;

    public override int Ratio => config.SpatialCompressionRatio;

    public override bool IsFused => fused is not null;

    public override LatentDecoder CreateDecoder(int threads) =>
        fused is not null ? new FusedLatentDecoder(fused, config, options.Tiling, threads) : new PlainLatentDecoder(plain!.Decode, options.Device);

    public override void Dispose()
    {
        fused?.Dispose();
        plain?.Dispose();
    }
}

/// <summary>Stable Diffusion's, by plain tensor operators.</summary>
internal sealed class KlDecoderNetwork : DecoderNetwork
{
    private readonly ImageModelOptions options;
    private readonly AutoencoderKL model;

    public KlDecoderNetwork(HuggingFaceFolder folder, AutoencoderKLConfig config, ImageModelOptions options)
    {
        this.options = options;
        if (config.OutChannels != 3)
        {
            throw new CheckpointException($"{folder.Path}: out_channels is {config.OutChannels}, expected 3 for red, green and blue");
        }

        using var weights = folder.OpenWeights();
        model = AutoencoderKL.Load(weights, config, options.Dtype, withEncoder: false, device: options.Device);
        model.Tiling = options.Tiling;
    }

    public override int LatentChannels => model.Config.LatentChannels;

    public override int Ratio => model.Config.SpatialCompressionRatio;

    public override LatentDecoder CreateDecoder(int threads) => new PlainLatentDecoder(model.Decode, options.Device);

    public override void Dispose() => model.Dispose();
}
