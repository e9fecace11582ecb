using MetaQuery.Models.Autoencoder;
using MetaQuery.Models.Checkpoints;

namespace MetaQuery.Pipelines;

/// <summary>What a pipeline has to know of an autoencoder's decoder; its weights are not needed for it.</summary>
/// <param name="LatentChannels">Channels of the latents.</param>
/// <param name="Ratio">Pixels along a side per latent.</param>
/// <param name="IsFused">False where plain tensor operators run.</param>
internal sealed record DecoderTraits(int LatentChannels, int Ratio, bool IsFused);

/// <summary>The weights of an autoencoder's decoder, whatever its family.</summary>
internal abstract class DecoderNetwork(DecoderTraits traits) : IDisposable
{
    public DecoderTraits Traits { get; } = traits;

    /// <param name="folder">vae/.</param>
    /// <param name="open">Opens its weights, which may lie elsewhere.</param>
    /// <param name="options">Dtype, device and tiles.</param>
    /// <exception cref="CheckpointException">The folder is malformed, or its class is neither AutoencoderDC nor AutoencoderKL.</exception>
    public static DecoderNetwork Load(string folder, Func<PartWeights> open, ImageModelOptions options) => Read(
        folder, (source, config) => (DecoderNetwork)new DeepCompressionDecoder(open, config, options),
        (source, config) => new KlDecoderNetwork(source, open, config, options));

    /// <summary>Reads the configuration alone.</summary>
    /// <inheritdoc cref="Load" path="/exception"/>
    public static DecoderTraits Describe(string folder, ImageModelOptions options) => Read(
        folder, (_, config) => DeepCompressionDecoder.Describe(config, options), KlDecoderNetwork.Describe);

    /// <summary>The decoder as one slot uses it.</summary>
    public abstract LatentDecoder CreateDecoder(int threads);

    public abstract void Dispose();

    private static T Read<T>(string folder, Func<HuggingFaceFolder, AutoencoderDCConfig, T> deep, Func<HuggingFaceFolder, AutoencoderKLConfig, T> kl)
    {
        var source = HuggingFaceFolder.Open(folder);
        var config = source.ReadConfig();
        // Without a class name, a key that only an AutoencoderKL has tells.
        return config.String("_class_name", config.Has("down_block_types") ? "AutoencoderKL" : "AutoencoderDC") switch
        {
            "AutoencoderDC" => deep(source, AutoencoderDCConfig.Read(config)),
            "AutoencoderKL" => kl(source, AutoencoderKLConfig.Read(config)),
            var other => throw config.Error("_class_name", $"is \"{other}\", expected AutoencoderDC or AutoencoderKL"),
        };
    }
}

/// <summary>DC-AE's, by the fused kernels where they serve.</summary>
internal sealed class DeepCompressionDecoder : DecoderNetwork
{
    private readonly AutoencoderDCConfig config;
    private readonly ImageModelOptions options;
    private readonly FusedDecoder? fused;
    private readonly AutoencoderDC? plain;

    public DeepCompressionDecoder(Func<PartWeights> open, AutoencoderDCConfig config, ImageModelOptions options)
        : base(Describe(config, options))
    {
        (this.config, this.options) = (config, options);
        using var part = open();
        var weights = part.Source;
        ShapeProbe.Demand(weights, source => AutoencoderDC.Load(source, config, withEncoder: false).Dispose());
        if (Traits.IsFused)
        {
            fused = FusedDecoder.Load(weights, config, options.Precision);
        }
        else
        {
            plain = AutoencoderDC.Load(weights, config, options.Dtype, withEncoder: false, device: options.Device);
            plain.Tiling = options.Tiling;
        }
    }

    public static DecoderTraits Describe(AutoencoderDCConfig config, ImageModelOptions options) => new(
        config.LatentChannels, config.SpatialCompressionRatio, options.MayFuse && FusedDecoder.WhyUnsupported(config, options.Precision) is null);

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

    public KlDecoderNetwork(HuggingFaceFolder folder, Func<PartWeights> open, AutoencoderKLConfig config, ImageModelOptions options)
        : base(Describe(folder, config))
    {
        this.options = options;
        using var part = open();
        var weights = part.Source;
        ShapeProbe.Demand(weights, source => AutoencoderKL.Load(source, config, withEncoder: false).Dispose());
        model = AutoencoderKL.Load(weights, config, options.Dtype, withEncoder: false, device: options.Device);
        model.Tiling = options.Tiling;
    }

    /// <exception cref="CheckpointException">The autoencoder is one that is not supported.</exception>
    public static DecoderTraits Describe(HuggingFaceFolder folder, AutoencoderKLConfig config) =>
        config.OutChannels == 3
            ? new DecoderTraits(config.LatentChannels, config.SpatialCompressionRatio, IsFused: false)
            : throw new CheckpointException($"{folder.Path}: out_channels is {config.OutChannels}, expected 3 for red, green and blue");

    public override LatentDecoder CreateDecoder(int threads) => new PlainLatentDecoder(model.Decode, options.Device);

    public override void Dispose() => model.Dispose();
}
