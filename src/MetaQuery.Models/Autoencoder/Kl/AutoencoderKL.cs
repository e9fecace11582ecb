using MetaQuery.Models.Checkpoints;
using MetaQuery.Models.Layers;
using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Models.Autoencoder;

/// <summary>
/// The variational autoencoder of Stable Diffusion (arXiv 2112.10752), as diffusers 0.33 computes it. The scaling of latents happens
/// here: callers see scaled latents only. Pictures lie channels-last in memory.
/// </summary>
public sealed class AutoencoderKL : IDisposable
{
    internal const double NormEpsilon = 1e-6; // every group norm of the autoencoder, diffusers 0.33
    private const double LeastLogVariance = -30; // DiagonalGaussianDistribution, diffusers 0.33
    private const double MostLogVariance = 20;

    private readonly ParameterScope parameters;
    private readonly KlEncoder? encoder;
    private readonly Conv2d? quantConv;
    private readonly Conv2d? postQuantConv;
    private readonly KlDecoder? decoder;

    private AutoencoderKL(ParameterScope scope, AutoencoderKLConfig config, bool withEncoder, bool withDecoder)
    {
        parameters = scope;
        Config = config;
        if (withEncoder)
        {
            encoder = new KlEncoder(scope.Child("encoder"), config);
            quantConv = config.UseQuantConv ? new Conv2d(scope.Child("quant_conv"), 2 * config.LatentChannels, 2 * config.LatentChannels, kernel: 1) : null;
        }

        if (withDecoder)
        {
            postQuantConv = config.UsePostQuantConv ? new Conv2d(scope.Child("post_quant_conv"), config.LatentChannels, config.LatentChannels, kernel: 1) : null;
            decoder = new KlDecoder(scope.Child("decoder"), config);
        }
    }

    public AutoencoderKLConfig Config { get; }

    /// <summary>Parameters under the checkpoint's names; borrowed.</summary>
    public IReadOnlyDictionary<string, Tensor> Parameters => parameters.Loaded;

    /// <summary>If set, pictures larger than a tile are cut into tiles.</summary>
    public AutoencoderTiling? Tiling { get; set; }

    /// <summary>If set, is shown the outputs of submodules under their names in the checkpoint.</summary>
    public ActivationTap? Tap { get; set; }

    /// <param name="source">diffusion_pytorch_model.safetensors of a vae folder.</param>
    /// <param name="config">Its config.json.</param>
    /// <param name="dtype">Of the weights and convolutions; norms and the residual stream are float32.</param>
    /// <param name="withEncoder">False leaves the encoder's weights alone: making pictures does not need them.</param>
    /// <param name="withDecoder">False leaves the decoder's weights alone.</param>
    /// <param name="device">Where the weights are put; the CPU if null.</param>
    /// <exception cref="CheckpointException">A tensor is missing or has another shape.</exception>
    public static AutoencoderKL Load(
        WeightSource source, AutoencoderKLConfig config, ScalarType dtype = ScalarType.Float32, bool withEncoder = true, bool withDecoder = true,
        Device? device = null) =>
        ParameterScope.Build(source, dtype, device, scope => new AutoencoderKL(scope, config, withEncoder, withDecoder));

    /// <summary>The distribution of a picture's latents, unscaled.</summary>
    /// <param name="image">[B, 3, height, width], in [-1, 1].</param>
    /// <returns>Mean and ln of the variance, the latter within [-30, 20]; [B, latent channels, height / ratio, width / ratio], float32; the caller owns both.</returns>
    /// <exception cref="ArgumentException">Height or width is not a multiple of the compression ratio.</exception>
    /// <exception cref="InvalidOperationException">Loaded without the encoder.</exception>
    public (Tensor Mean, Tensor LogVariance) Moments(Tensor image)
    {
        var ratio = Config.SpatialCompressionRatio;
        CheckShape(image, Config.InChannels, "an image");
        if (image.shape[2] % ratio != 0 || image.shape[3] % ratio != 0)
        {
            throw new ArgumentException($"an image of {image.shape[2]} x {image.shape[3]} is not divisible into latents of {ratio} x {ratio} pixels", nameof(image));
        }

        using var scope = NewDisposeScope();
        var moments = Tiling?.Cuts(image, 1) == true
            ? Tiling.Encode(image, ratio, tile => RunEncoder(tile, tap: null))
            : RunEncoder(image, Tap);
        var halves = moments.to(ScalarType.Float32).chunk(2, 1);
        return (
            halves[0].contiguous().MoveToOuterDisposeScope(),
            halves[1].clamp(LeastLogVariance, MostLogVariance).contiguous().MoveToOuterDisposeScope());
    }

    /// <summary>Pixels to latents.</summary>
    /// <param name="image">[B, 3, height, width], in [-1, 1].</param>
    /// <param name="noise">Standard normal, shaped as the latents, for a draw from their distribution; null for its mean.</param>
    /// <returns>[B, latent channels, height / ratio, width / ratio], float32, scaled; the caller owns it.</returns>
    /// <inheritdoc cref="Moments"/>
    public Tensor Encode(Tensor image, Tensor? noise = null)
    {
        using var scope = NewDisposeScope();
        var (latents, logVariance) = Moments(image);
        if (noise is not null)
        {
            latents = latents + ((logVariance * 0.5).exp() * noise);
        }

        return ((latents - Config.ShiftFactor) * Config.ScalingFactor).MoveToOuterDisposeScope();
    }

    /// <summary>Latents to pixels.</summary>
    /// <param name="latents">[B, latent channels, height, width], scaled.</param>
    /// <param name="beforeEach">Called before the picture, or before each of its tiles; may throw, which ends it.</param>
    /// <returns>[B, 3, height · ratio, width · ratio], float32, nominally in [-1, 1] but not clamped; the caller owns it.</returns>
    /// <exception cref="ArgumentException">The channels differ.</exception>
    /// <exception cref="InvalidOperationException">Loaded without the decoder.</exception>
    public Tensor Decode(Tensor latents, Action? beforeEach = null)
    {
        CheckShape(latents, Config.LatentChannels, "latents");
        var ratio = Config.SpatialCompressionRatio;
        using var scope = NewDisposeScope();
        var unscaled = (latents / Config.ScalingFactor) + Config.ShiftFactor;
        var image = Tiling?.Cuts(unscaled, ratio) == true ? Tiling.Decode(unscaled, ratio, tile => Run(tile, tap: null)) : Run(unscaled, Tap);
        return image.to(ScalarType.Float32).contiguous().MoveToOuterDisposeScope();

        Tensor Run(Tensor tile, ActivationTap? tap)
        {
            beforeEach?.Invoke();
            return RunDecoder(tile, tap);
        }
    }

    public void Dispose() => parameters.DisposeLoaded();

    internal static ResidualBlockOptions ResidualOptions(AutoencoderKLConfig config) => new(config.NormNumGroups, NormEpsilon, config.Activation);

    private Tensor RunEncoder(Tensor image, ActivationTap? tap)
    {
        var moments = encoder?.Forward(image, tap) ?? throw new InvalidOperationException("this autoencoder was loaded without its encoder");
        moments = quantConv?.Forward(moments) ?? moments;
        tap?.Invoke("quant_conv", moments);
        return moments;
    }

    private Tensor RunDecoder(Tensor latents, ActivationTap? tap)
    {
        if (decoder is null)
        {
            throw new InvalidOperationException("this autoencoder was loaded without its decoder");
        }

        var hidden = Picture.ChannelsLast(postQuantConv?.Forward(latents) ?? latents);
        tap?.Invoke("post_quant_conv", hidden);
        return decoder.Forward(hidden, tap);
    }

    private static void CheckShape(Tensor x, int channels, string what)
    {
        if (x.dim() != 4 || x.shape[1] != channels)
        {
            throw new ArgumentException($"{what} of shape [{string.Join(", ", x.shape)}], expected [B, {channels}, height, width]", nameof(x));
        }
    }
}
