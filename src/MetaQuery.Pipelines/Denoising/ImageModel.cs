using MetaQuery.Kernels;
using MetaQuery.Models.Autoencoder;
using MetaQuery.Models.Checkpoints;
using MetaQuery.Models.Diffusion;
using MetaQuery.Sampling;
using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Pipelines;

/// <summary>How pictures are computed.</summary>
public sealed record ImageModelOptions
{
    /// <summary>float32, or bfloat16 for the matrix products and convolutions.</summary>
    public ScalarType Dtype { get; init; } = ScalarType.Float32;

    /// <summary>Where; the fused kernels serve the CPU alone.</summary>
    public Device Device { get; init; } = CPU;

    /// <summary>False computes with plain tensor operators even where the fused kernels could.</summary>
    public bool AllowFused { get; init; } = true;
}

/// <summary>The weights that turn conditions into pictures: transformer, decoder and scheduler. Shared by all slots.</summary>
public sealed class ImageModel : IDisposable
{
    private const int MaxSidePixels = 2048; // beyond it a picture's latents are far outside anything trained, and memory grows without use

    private readonly FusedSanaTransformer? fused;
    private readonly SanaTransformer2DModel? plain;
    private readonly FusedDecoder? fusedDecoder;
    private readonly AutoencoderDC? plainDecoder;

    private ImageModel(string transformerFolder, string vaeFolder, string schedulerFolder, ImageModelOptions options)
    {
        Options = options;
        if (options.Dtype is not (ScalarType.Float32 or ScalarType.BFloat16))
        {
            throw new PipelineException($"dtype {options.Dtype}: pictures are computed in float32 or bfloat16");
        }

        Scheduler = Schedulers.ForMetaQuery(HuggingFaceFolder.Open(schedulerFolder).ReadSchedulerConfig().Find);
        var transformer = HuggingFaceFolder.Open(transformerFolder);
        TransformerConfig = SanaTransformerConfig.Read(transformer.ReadConfig());
        var vae = HuggingFaceFolder.Open(vaeFolder);
        var vaeConfig = AutoencoderDCConfig.Read(vae.ReadConfig());
        AutoencoderConfig = vaeConfig;
        if (vaeConfig.LatentChannels != TransformerConfig.InChannels || TransformerConfig.OutChannels != TransformerConfig.InChannels)
        {
            throw new CheckpointException(
                $"{transformerFolder}: latents of {TransformerConfig.InChannels} channels in and {TransformerConfig.OutChannels} out do not fit the autoencoder's {vaeConfig.LatentChannels}");
        }

        if (TransformerConfig.GuidanceEmbeds)
        {
            throw new CheckpointException($"{transformerFolder}: guidance_embeds is true; sampling with an embedded guidance scale (Sana Sprint) is not supported");
        }

        var precision = options.Dtype == ScalarType.BFloat16 ? FusedPrecision.BFloat16 : FusedPrecision.Float32;
        using (var weights = transformer.OpenWeights())
        {
            if (options.AllowFused && options.Device.type == DeviceType.CPU && FusedSanaTransformer.WhyUnsupported(TransformerConfig, precision) is null)
            {
                fused = FusedSanaTransformer.Load(weights, TransformerConfig, precision);
            }
            else
            {
                plain = SanaTransformer2DModel.Load(weights, TransformerConfig, options.Dtype, options.Device);
            }
        }

        try
        {
            using var weights = vae.OpenWeights();
            if (options.AllowFused && options.Device.type == DeviceType.CPU && FusedDecoder.WhyUnsupported(vaeConfig, precision) is null)
            {
                fusedDecoder = FusedDecoder.Load(weights, vaeConfig, precision);
            }
            else
            {
                plainDecoder = AutoencoderDC.Load(weights, vaeConfig, options.Dtype, withEncoder: false, device: options.Device);
            }
        }
        catch
        {
            fused?.Dispose();
            plain?.Dispose();
            throw;
        }
    }

    public ImageModelOptions Options { get; }

    public SanaTransformerConfig TransformerConfig { get; }

    public IScheduler Scheduler { get; }

    public AutoencoderDCConfig AutoencoderConfig { get; }

    /// <summary>What a picture's height and width must be multiples of.</summary>
    public int SizeMultiplePixels => AutoencoderConfig.SpatialCompressionRatio * TransformerConfig.PatchSize;

    /// <summary>Height and width that the transformer was trained at.</summary>
    public int DefaultSizePixels => TransformerConfig.SampleSize * AutoencoderConfig.SpatialCompressionRatio;

    /// <summary>Smallest height or width.</summary>
    public int MinSizePixels => SizeMultiplePixels;

    /// <summary>Largest height or width.</summary>
    public int MaxSidePixelsAllowed => MaxSidePixels / SizeMultiplePixels * SizeMultiplePixels;

    /// <summary>Which kernels run: part of the numerics fingerprint. Raised when a change of a kernel moves a bit.</summary>
    public string KernelPath => fused is null ? "plain"
        : (fusedDecoder is null ? "fused2-plain-decoder-" : "fused2-") + (RawKernels.Level == 2 ? "avx512" : "avx2")
            + (fused.Features.HasFlag(KernelFeatures.AmxBFloat16) ? "-amx" : fused.Features.HasFlag(KernelFeatures.Avx512BFloat16) ? "-bf16" : "");

    /// <param name="folder">A MetaQuery model.</param>
    /// <param name="options">Defaults to float32 on the CPU.</param>
    /// <exception cref="CheckpointException">A part is missing, malformed, or does not fit the others.</exception>
    /// <exception cref="SchedulerException">The scheduler is not supported.</exception>
    public static ImageModel Load(MetaQueryModelFolder folder, ImageModelOptions? options = null) =>
        Load(folder.TransformerFolder, folder.VaeFolder, folder.SchedulerFolder, options);

    /// <inheritdoc cref="Load(MetaQueryModelFolder, ImageModelOptions?)"/>
    public static ImageModel Load(string transformerFolder, string vaeFolder, string schedulerFolder, ImageModelOptions? options = null) =>
        new(transformerFolder, vaeFolder, schedulerFolder, options ?? new ImageModelOptions());

    /// <summary>The transformer as one slot uses it.</summary>
    /// <param name="threads">Of the fused kernels; plain operators use libtorch's own number.</param>
    public IVelocityModel CreateVelocityModel(int threads) =>
        fused is not null ? new FusedVelocityModel(fused, threads) : new PlainVelocityModel(plain!, Options.Device);

    /// <summary>The decoder as one slot uses it.</summary>
    /// <param name="threads">Of the fused kernels; plain operators use libtorch's own number.</param>
    public LatentDecoder CreateDecoder(int threads) =>
        fusedDecoder is not null ? new FusedLatentDecoder(fusedDecoder, AutoencoderConfig, threads) : new PlainLatentDecoder(plainDecoder!, Options.Device);

    /// <summary>True if a row's velocity is the same bits whatever the size of its batch.</summary>
    public bool RowsAreIndependent => Options.Device.type == DeviceType.CPU;

    /// <exception cref="PipelineException">The model cannot make the size.</exception>
    public void CheckSize(int heightPixels, int widthPixels)
    {
        var multiple = SizeMultiplePixels;
        if (heightPixels % multiple != 0 || widthPixels % multiple != 0
            || heightPixels < multiple || widthPixels < multiple || heightPixels > MaxSidePixelsAllowed || widthPixels > MaxSidePixelsAllowed)
        {
            throw new PipelineException(
                $"this model cannot make pictures of {widthPixels} x {heightPixels} pixels: width and height must be multiples of {multiple} between {multiple} and {MaxSidePixelsAllowed}");
        }
    }

    public void Dispose()
    {
        fused?.Dispose();
        plain?.Dispose();
        fusedDecoder?.Dispose();
        plainDecoder?.Dispose();
    }
}
