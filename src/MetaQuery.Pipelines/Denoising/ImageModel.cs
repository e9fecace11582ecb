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

    /// <summary>Pictures larger than a tile are decoded in tiles, so that memory depends on the tile. A tile does not see its neighbours:
    /// a tiled picture differs a little from one that is decoded whole.</summary>
    public AutoencoderTiling Tiling { get; init; } = new(1024, 1024, 896, 896); // the overlap is diffusers' share, 1/8

    /// <summary>Whether plain operators take a batch at once, with latents that stay on the device; null: on accelerators. On the CPU a row's last bits
    /// depend on its batch then.</summary>
    internal bool? WholeBatches { get; init; }

    internal bool MayFuse => AllowFused && Device.type == DeviceType.CPU;

    internal FusedPrecision Precision => Dtype == ScalarType.BFloat16 ? FusedPrecision.BFloat16 : FusedPrecision.Float32;
}

/// <summary>What a model's pictures can be, and how they are computed on this machine.</summary>
/// <param name="DefaultSizePixels">Height and width unless asked otherwise: of the folder's input_size, else what the network was trained at.</param>
/// <param name="SizeMultiplePixels">What a picture's height and width must be multiples of.</param>
/// <param name="MinSizePixels">Smallest height or width.</param>
/// <param name="MaxSidePixels">Largest height or width.</param>
/// <param name="KernelPath">Which kernels run: part of the numerics fingerprint. Raised when a change of a kernel moves a bit.</param>
public sealed record ImageModelTraits(int DefaultSizePixels, int SizeMultiplePixels, int MinSizePixels, int MaxSidePixels, string KernelPath);

/// <summary>The weights that turn conditions into pictures: Sana's transformer or Stable Diffusion's UNet, a decoder (DC-AE or AutoencoderKL)
/// and a scheduler; each folder's config.json says which. Shared by all slots.</summary>
public sealed class ImageModel : IDisposable
{
    private readonly DiffusionNetwork network;
    private readonly DecoderNetwork decoder;

    private ImageModel(
        ImageModelTraits traits, (string Folder, Func<PartWeights> Open) networkPart, (string Folder, Func<PartWeights> Open) vaePart, string schedulerFolder, ImageModelOptions options)
    {
        (Traits, Options) = (traits, options);
        Scheduler = Schedulers.ForMetaQuery(HuggingFaceFolder.Open(schedulerFolder).ReadSchedulerConfig().Find);
        network = DiffusionNetwork.Load(networkPart.Folder, networkPart.Open, options);
        try
        {
            decoder = DecoderNetwork.Load(vaePart.Folder, vaePart.Open, options);
        }
        catch
        {
            network.Dispose();
            throw;
        }
    }

    /// <summary>What the configuration alone tells.</summary>
    public ImageModelTraits Traits { get; }

    public ImageModelOptions Options { get; }

    public IScheduler Scheduler { get; }

    /// <summary>Whether rows of zeros at a condition's end are no tokens (<see cref="MetaQueryConfig.NumMetaqueries"/> 0).</summary>
    public bool HasVariableConditions { get; private init; }

    /// <summary>Channels of the latents.</summary>
    public int LatentChannels => network.Traits.LatentChannels;

    /// <summary>Latent height and width unless asked otherwise: the folder's input_size, else what the network was trained at.</summary>
    public int LatentSize => Traits.DefaultSizePixels / PixelsPerLatent;

    /// <summary>Pixels along a side per latent.</summary>
    public int PixelsPerLatent => decoder.Traits.Ratio;

    /// <summary>D: channels of a condition.</summary>
    public int ConditionChannels => network.Traits.ConditionChannels;

    /// <summary>What timesteps are multiplied by before the network sees them.</summary>
    public float TimestepScale => network.Traits.TimestepScale;

    /// <summary>What a picture's height and width must be multiples of.</summary>
    public int SizeMultiplePixels => Traits.SizeMultiplePixels;

    /// <summary>Height and width of pictures unless asked otherwise.</summary>
    public int DefaultSizePixels => Traits.DefaultSizePixels;

    /// <summary>Smallest height or width.</summary>
    public int MinSizePixels => Traits.MinSizePixels;

    /// <summary>Largest height or width.</summary>
    public int MaxSidePixelsAllowed => Traits.MaxSidePixels;

    /// <summary>Which kernels run: part of the numerics fingerprint.</summary>
    public string KernelPath => Traits.KernelPath;

    /// <summary>What a model's pictures can be and how they are computed here, from its configuration alone: no weights are read.</summary>
    /// <exception cref="CheckpointException">A part is missing, malformed, or does not fit the others.</exception>
    /// <exception cref="PipelineException">The dtype is not supported.</exception>
    public static ImageModelTraits Describe(MetaQueryModelFolder folder, ImageModelOptions options)
    {
        ArgumentNullException.ThrowIfNull(folder);
        ArgumentNullException.ThrowIfNull(options);
        return Describe(folder.NetworkFolder, folder.VaeFolder, options, folder.Config);
    }

    /// <param name="folder">A MetaQuery model.</param>
    /// <param name="options">Defaults to float32 on the CPU.</param>
    /// <exception cref="CheckpointException">A part is missing, malformed, or does not fit the others.</exception>
    /// <exception cref="SchedulerException">The scheduler is not supported.</exception>
    public static ImageModel Load(MetaQueryModelFolder folder, ImageModelOptions? options = null)
    {
        options ??= new ImageModelOptions();
        return new ImageModel(
            Describe(folder, options), (folder.NetworkFolder, folder.OpenNetworkWeights), (folder.VaeFolder, folder.OpenVaeWeights), folder.SchedulerFolder, options)
        {
            HasVariableConditions = folder.Config.NumMetaqueries == 0,
        };
    }

    /// <inheritdoc cref="Load(MetaQueryModelFolder, ImageModelOptions?)"/>
    public static ImageModel Load(string networkFolder, string vaeFolder, string schedulerFolder, ImageModelOptions? options = null)
    {
        options ??= new ImageModelOptions();
        return new ImageModel(
            Describe(networkFolder, vaeFolder, options, config: null), (networkFolder, () => Own(networkFolder)), (vaeFolder, () => Own(vaeFolder)), schedulerFolder, options);

        static PartWeights Own(string folder) => new(HuggingFaceFolder.Open(folder).OpenWeights());
    }

    /// <summary>The network as one slot uses it.</summary>
    /// <param name="threads">Of the fused kernels; plain operators use libtorch's own number.</param>
    public IVelocityModel CreateVelocityModel(int threads) => network.CreateModel(threads);

    /// <summary>The decoder as one slot uses it.</summary>
    /// <param name="threads">Of the fused kernels; plain operators use libtorch's own number.</param>
    public LatentDecoder CreateDecoder(int threads) => decoder.CreateDecoder(threads);

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
        network.Dispose();
        decoder.Dispose();
    }

    private static ImageModelTraits Describe(string networkFolder, string vaeFolder, ImageModelOptions options, MetaQueryConfig? config)
    {
        if (options.Dtype is not (ScalarType.Float32 or ScalarType.BFloat16))
        {
            throw new PipelineException($"dtype {options.Dtype}: pictures are computed in float32 or bfloat16");
        }

        var net = DiffusionNetwork.Describe(networkFolder, options);
        var vae = DecoderNetwork.Describe(vaeFolder, options);
        if (vae.LatentChannels != net.LatentChannels)
        {
            throw new CheckpointException($"{networkFolder}: latents of {net.LatentChannels} channels do not fit the autoencoder's {vae.LatentChannels}");
        }

        ReadOnlySpan<(string Key, int? Stated, int Found)> values =
        [
            ("condition_channels", config?.ConditionChannels, net.ConditionChannels), ("in_channels", config?.InChannels, net.LatentChannels),
            ("vae_downsample_f", config?.VaeDownsampleFactor, vae.Ratio),
        ];
        foreach (var (key, stated, found) in values)
        {
            if (stated is { } number && number != found)
            {
                throw new CheckpointException($"{networkFolder}: the model's config.json states {key} = {number}, this network and the autoencoder have {found}");
            }
        }

        var latentSize = config?.InputSize ?? net.SampleSize;
        if (latentSize % net.LatentMultiple != 0)
        {
            throw new CheckpointException($"{networkFolder}: latents of {latentSize} x {latentSize} are not divisible into the network's patches of {net.LatentMultiple}");
        }

        var multiple = vae.Ratio * net.LatentMultiple;
        return new ImageModelTraits(
            latentSize * vae.Ratio, multiple, multiple, net.MaxSidePixels / multiple * multiple,
            net.KernelPath == "plain" ? "plain" : (vae.IsFused ? "fused3-" : "fused3-plain-decoder-") + net.KernelPath);
    }
}
