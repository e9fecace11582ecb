using MetaQuery.Kernels;
using MetaQuery.Models.Checkpoints;
using MetaQuery.Models.Diffusion;

namespace MetaQuery.Pipelines;

/// <summary>What a pipeline has to know of a diffusion network, whatever its family; its weights are not needed for it.</summary>
/// <param name="LatentChannels">Channels of the latents.</param>
/// <param name="ConditionChannels">Channels of a condition.</param>
/// <param name="LatentMultiple">Latents along a side that a picture's size is a multiple of.</param>
/// <param name="SampleSize">Latent height and width that the network was trained at.</param>
/// <param name="MaxSidePixels">Largest height or width of a picture.</param>
/// <param name="TimestepScale">What timesteps are multiplied by.</param>
/// <param name="KernelPath">Which kernels run; "plain" for tensor operators.</param>
internal sealed record NetworkTraits(
    int LatentChannels, int ConditionChannels, int LatentMultiple, int SampleSize, int MaxSidePixels, float TimestepScale, string KernelPath);

/// <summary>The weights of a diffusion network.</summary>
internal abstract class DiffusionNetwork(NetworkTraits traits) : IDisposable
{
    public NetworkTraits Traits { get; } = traits;

    /// <param name="folder">transformer/ or unet/.</param>
    /// <param name="open">Opens its weights, which may lie elsewhere.</param>
    /// <param name="options">Dtype and device.</param>
    /// <exception cref="CheckpointException">The folder is malformed, or its class is neither SanaTransformer2DModel nor UNet2DConditionModel.</exception>
    public static DiffusionNetwork Load(string folder, Func<PartWeights> open, ImageModelOptions options) => Read(
        folder, (source, config) => (DiffusionNetwork)new SanaNetwork(source, open, config, options), (source, config) => new UNetNetwork(source, open, config, options));

    /// <summary>Reads the configuration alone.</summary>
    /// <inheritdoc cref="Load" path="/exception"/>
    public static NetworkTraits Describe(string folder, ImageModelOptions options) => Read(
        folder, (source, config) => SanaNetwork.Describe(source, config, options), UNetNetwork.Describe);

    /// <summary>The network as one slot uses it.</summary>
    public abstract IVelocityModel CreateModel(int threads);

    public abstract void Dispose();

    private static T Read<T>(
        string folder, Func<HuggingFaceFolder, SanaTransformerConfig, T> sana, Func<HuggingFaceFolder, UNet2DConditionConfig, T> unet)
    {
        var source = HuggingFaceFolder.Open(folder);
        var config = source.ReadConfig();
        // Without a class name, a key that only a UNet has tells.
        return config.String("_class_name", config.Has("down_block_types") ? "UNet2DConditionModel" : "SanaTransformer2DModel") switch
        {
            "SanaTransformer2DModel" => sana(source, SanaTransformerConfig.Read(config)),
            "UNet2DConditionModel" => unet(source, UNet2DConditionConfig.Read(config)),
            var other => throw config.Error("_class_name", $"is \"{other}\", expected SanaTransformer2DModel or UNet2DConditionModel"),
        };
    }
}

/// <summary>Sana's transformer, by the fused kernels where they serve.</summary>
internal sealed class SanaNetwork : DiffusionNetwork
{
    private const int PublishedMaxSidePixels = 4096; // the largest size that Sana was published for

    private readonly ImageModelOptions options;
    private readonly FusedSanaTransformer? fused;
    private readonly SanaTransformer2DModel? plain;

    public SanaNetwork(HuggingFaceFolder folder, Func<PartWeights> open, SanaTransformerConfig config, ImageModelOptions options)
        : base(Describe(folder, config, options))
    {
        this.options = options;
        using var part = open();
        var weights = part.Source;
        ShapeProbe.Demand(weights, source => SanaTransformer2DModel.Load(source, config).Dispose());
        if (IsFused(config, options))
        {
            fused = FusedSanaTransformer.Load(weights, config, options.Precision);
        }
        else
        {
            plain = SanaTransformer2DModel.Load(weights, config, options.Dtype, options.Device);
        }
    }

    /// <exception cref="CheckpointException">The network is one that is not supported.</exception>
    public static NetworkTraits Describe(HuggingFaceFolder folder, SanaTransformerConfig config, ImageModelOptions options)
    {
        if (config.OutChannels != config.InChannels)
        {
            throw new CheckpointException($"{folder.Path}: latents of {config.InChannels} channels in and {config.OutChannels} out, expected as many");
        }

        if (config.GuidanceEmbeds)
        {
            throw new CheckpointException($"{folder.Path}: guidance_embeds is true: sampling with an embedded guidance scale (Sana Sprint) is not supported; MetaQuery was trained with a Sana without one, such as Sana_1600M_512px");
        }

        return new NetworkTraits(
            config.InChannels, config.CaptionChannels, config.PatchSize, config.SampleSize, PublishedMaxSidePixels, (float)config.TimestepScale,
            IsFused(config, options) ? FusedPath(options) : "plain");
    }

    public override IVelocityModel CreateModel(int threads) =>
        fused is not null ? new FusedVelocityModel(fused, threads) : new PlainVelocityModel<SanaContext>(plain!, options.Device, options.WholeBatches);

    public override void Dispose()
    {
        fused?.Dispose();
        plain?.Dispose();
    }

    private static bool IsFused(SanaTransformerConfig config, ImageModelOptions options) =>
        options.MayFuse && FusedSanaTransformer.WhyUnsupported(config, options.Precision) is null;

    private static string FusedPath(ImageModelOptions options)
    {
        var features = options.Precision == FusedPrecision.BFloat16 ? RawKernels.Features : KernelFeatures.None;
        return (RawKernels.Level == 2 ? "avx512" : "avx2")
            + (features.HasFlag(KernelFeatures.AmxBFloat16) ? "-amx" : features.HasFlag(KernelFeatures.Avx512BFloat16) ? "-bf16" : "");
    }
}

/// <summary>Stable Diffusion's UNet, by plain tensor operators.</summary>
internal sealed class UNetNetwork : DiffusionNetwork
{
    private const int UsualSampleSize = 64; // Stable Diffusion 1's, where the file does not say
    private const int UsefulMaxSidePixels = 2048; // its self-attention's cost grows with the fourth power of the side

    private readonly ImageModelOptions options;
    private readonly UNet2DConditionModel model;

    public UNetNetwork(HuggingFaceFolder folder, Func<PartWeights> open, UNet2DConditionConfig config, ImageModelOptions options)
        : base(Describe(folder, config))
    {
        this.options = options;
        using var part = open();
        var weights = part.Source;
        ShapeProbe.Demand(weights, source => UNet2DConditionModel.Load(source, config).Dispose());
        model = UNet2DConditionModel.Load(weights, config, options.Dtype, options.Device);
    }

    /// <exception cref="CheckpointException">The network is one that is not supported.</exception>
    public static NetworkTraits Describe(HuggingFaceFolder folder, UNet2DConditionConfig config) =>
        config.OutChannels == config.InChannels
            ? new NetworkTraits(
                config.InChannels, config.CrossAttentionDim, LatentMultiple: 1, config.SampleSize ?? UsualSampleSize, UsefulMaxSidePixels, TimestepScale: 1, "plain")
            : throw new CheckpointException($"{folder.Path}: latents of {config.InChannels} channels in and {config.OutChannels} out, expected as many");

    public override IVelocityModel CreateModel(int threads) => new PlainVelocityModel<UNetContext>(model, options.Device, options.WholeBatches);

    public override void Dispose() => model.Dispose();
}
