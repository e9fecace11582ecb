using MetaQuery.Kernels;
using MetaQuery.Models.Checkpoints;
using MetaQuery.Models.Diffusion;

namespace MetaQuery.Pipelines;

/// <summary>The weights of a diffusion network with what a pipeline has to know of it, whatever its family.</summary>
internal abstract class DiffusionNetwork : IDisposable
{
    /// <summary>Channels of the latents.</summary>
    public abstract int LatentChannels { get; }

    /// <summary>Channels of a condition.</summary>
    public abstract int ConditionChannels { get; }

    /// <summary>Latents along a side that a picture's size is a multiple of.</summary>
    public abstract int LatentMultiple { get; }

    /// <summary>Latent height and width that the network was trained at.</summary>
    public abstract int SampleSize { get; }

    /// <summary>Largest height or width of a picture.</summary>
    public abstract int MaxSidePixels { get; }

    /// <summary>What timesteps are multiplied by.</summary>
    public virtual float TimestepScale => 1;

    /// <summary>Which kernels run; "plain" for tensor operators.</summary>
    public virtual string KernelPath => "plain";

    /// <param name="folder">transformer/ or unet/.</param>
    /// <param name="options">Dtype and device.</param>
    /// <exception cref="CheckpointException">The folder is malformed, or its class is neither SanaTransformer2DModel nor UNet2DConditionModel.</exception>
    public static DiffusionNetwork Load(string folder, ImageModelOptions options)
    {
        var source = HuggingFaceFolder.Open(folder);
        var config = source.ReadConfig();
        // Without a class name, a key that only a UNet has tells.
        return config.String("_class_name", config.Has("down_block_types") ? "UNet2DConditionModel" : "SanaTransformer2DModel") switch
        {
            "SanaTransformer2DModel" => new SanaNetwork(source, SanaTransformerConfig.Read(config), options),
            "UNet2DConditionModel" => new UNetNetwork(source, UNet2DConditionConfig.Read(config), options),
            var other => throw config.Error("_class_name", $"is \"{other}\", expected SanaTransformer2DModel or UNet2DConditionModel"),
        };
    }

    /// <summary>The network as one slot uses it.</summary>
    public abstract IVelocityModel CreateModel(int threads);

    public abstract void Dispose();
}

/// <summary>Sana's transformer, by the fused kernels where they serve.</summary>
internal sealed class SanaNetwork : DiffusionNetwork
{
    private readonly SanaTransformerConfig config;
    private readonly ImageModelOptions options;
    private readonly FusedSanaTransformer? fused;
    private readonly SanaTransformer2DModel? plain;

    public SanaNetwork(HuggingFaceFolder folder, SanaTransformerConfig config, ImageModelOptions options)
    {
        (this.config, this.options) = (config, options);
        if (config.OutChannels != config.InChannels)
        {
            throw new CheckpointException($"{folder.Path}: latents of {config.InChannels} channels in and {config.OutChannels} out, expected as many");
        }

        if (config.GuidanceEmbeds)
        {
            throw new CheckpointException($"{folder.Path}: guidance_embeds is true; sampling with an embedded guidance scale (Sana Sprint) is not supported");
        }

        using var weights = folder.OpenWeights();
        if (options.MayFuse && FusedSanaTransformer.WhyUnsupported(config, options.Precision) is null)
        {
            fused = FusedSanaTransformer.Load(weights, config, options.Precision);
        }
        else
        {
            plain = SanaTransformer2DModel.Load(weights, config, options.Dtype, options.Device);
        }
    }

    public override int LatentChannels => config.InChannels;

    public override int ConditionChannels => config.CaptionChannels;

    public override int LatentMultiple => config.PatchSize;

    public override int SampleSize => config.SampleSize;

    public override int MaxSidePixels => 4096; // the largest size that Sana was published for

    public override float TimestepScale => (float)config.TimestepScale;

    public override string KernelPath => fused is null ? base.KernelPath
        : (RawKernels.Level == 2 ? "avx512" : "avx2")
            + (fused.Features.HasFlag(KernelFeatures.AmxBFloat16) ? "-amx" : fused.Features.HasFlag(KernelFeatures.Avx512BFloat16) ? "-bf16" : "");

    public override IVelocityModel CreateModel(int threads) =>
        fused is not null ? new FusedVelocityModel(fused, threads) : new PlainVelocityModel<SanaContext>(plain!, options.Device);

    public override void Dispose()
    {
        fused?.Dispose();
        plain?.Dispose();
    }
}

/// <summary>Stable Diffusion's UNet, by plain tensor operators.</summary>
internal sealed class UNetNetwork : DiffusionNetwork
{
    private const int UsualSampleSize = 64; // Stable Diffusion 1's, where the file does not say

    private readonly ImageModelOptions options;
    private readonly UNet2DConditionModel model;

    public UNetNetwork(HuggingFaceFolder folder, UNet2DConditionConfig config, ImageModelOptions options)
    {
        this.options = options;
        if (config.OutChannels != config.InChannels)
        {
            throw new CheckpointException($"{folder.Path}: latents of {config.InChannels} channels in and {config.OutChannels} out, expected as many");
        }

        using var weights = folder.OpenWeights();
        model = UNet2DConditionModel.Load(weights, config, options.Dtype, options.Device);
    }

    public override int LatentChannels => model.Config.InChannels;

    public override int ConditionChannels => model.Config.CrossAttentionDim;

    public override int LatentMultiple => 1;

    public override int SampleSize => model.Config.SampleSize ?? UsualSampleSize;

    public override int MaxSidePixels => 2048; // its self-attention's cost grows with the fourth power of the side

    public override IVelocityModel CreateModel(int threads) => new PlainVelocityModel<UNetContext>(model, options.Device);

    public override void Dispose() => model.Dispose();
}
