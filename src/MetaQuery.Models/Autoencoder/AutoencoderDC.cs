using MetaQuery.Models.Checkpoints;
using MetaQuery.Models.Layers;
using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Models.Autoencoder;

/// <summary>
/// The deep-compression autoencoder DC-AE (arXiv 2410.10733), as diffusers 0.33 computes it. The scaling of latents happens
/// here: callers see scaled latents only.
/// </summary>
public sealed class AutoencoderDC : IDisposable
{
    private readonly ParameterScope parameters;
    private readonly Encoder? encoder;
    private readonly Decoder? decoder;

    private AutoencoderDC(ParameterScope scope, AutoencoderDCConfig config, bool withEncoder, bool withDecoder)
    {
        parameters = scope;
        Config = config;
        encoder = withEncoder ? new Encoder(scope.Child("encoder"), config) : null;
        decoder = withDecoder ? new Decoder(scope.Child("decoder"), config) : null;
    }

    public AutoencoderDCConfig Config { get; }

    /// <summary>Parameters under the checkpoint's names; borrowed.</summary>
    public IReadOnlyDictionary<string, Tensor> Parameters => parameters.Loaded;

    /// <summary>If set, pictures larger than a tile are cut into tiles.</summary>
    public AutoencoderTiling? Tiling { get; set; }

    /// <summary>If set, is shown the outputs of submodules under their names in the checkpoint.</summary>
    public ActivationTap? Tap { get; set; }

    /// <param name="source">diffusion_pytorch_model.safetensors of a vae folder.</param>
    /// <param name="config">Its config.json.</param>
    /// <param name="dtype">Of the weights and convolutions; norms and attention are float32.</param>
    /// <param name="withEncoder">False leaves the encoder's weights alone: making pictures does not need them.</param>
    /// <param name="withDecoder">False leaves the decoder's weights alone.</param>
    /// <param name="device">Where the weights are put; the CPU if null.</param>
    /// <exception cref="CheckpointException">A tensor is missing or has another shape.</exception>
    public static AutoencoderDC Load(
        WeightSource source, AutoencoderDCConfig config, ScalarType dtype = ScalarType.Float32, bool withEncoder = true, bool withDecoder = true,
        Device? device = null) =>
        ParameterScope.Build(source, dtype, device, scope => new AutoencoderDC(scope, config, withEncoder, withDecoder));

    /// <summary>Pixels to latents.</summary>
    /// <param name="image">[B, 3, height, width], in [-1, 1].</param>
    /// <returns>[B, latent channels, height / ratio, width / ratio], float32, scaled; the caller owns it.</returns>
    /// <exception cref="ArgumentException">Height or width is not a multiple of the compression ratio.</exception>
    /// <exception cref="InvalidOperationException">Loaded without the encoder.</exception>
    public Tensor Encode(Tensor image)
    {
        var ratio = Config.SpatialCompressionRatio;
        CheckShape(image, Config.InChannels, "an image");
        var (height, width) = (image.shape[2], image.shape[3]);
        if (height % ratio != 0 || width % ratio != 0)
        {
            throw new ArgumentException($"an image of {height} x {width} is not divisible into latents of {ratio} x {ratio} pixels", nameof(image));
        }

        using var scope = NewDisposeScope();
        var latents = Tiling?.Cuts(image, 1) == true
            ? Tiling.Encode(image, ratio, tile => RunEncoder(tile, tap: null))
            : RunEncoder(image, Tap);
        return (latents.to(ScalarType.Float32) * Config.ScalingFactor).MoveToOuterDisposeScope();
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
        var unscaled = latents / Config.ScalingFactor;
        var image = Tiling?.Cuts(unscaled, ratio) == true ? Tiling.Decode(unscaled, ratio, tile => Run(tile, tap: null)) : Run(unscaled, Tap);
        return image.to(ScalarType.Float32).MoveToOuterDisposeScope();

        Tensor Run(Tensor tile, ActivationTap? tap)
        {
            beforeEach?.Invoke();
            return RunDecoder(tile, tap);
        }
    }

    public void Dispose() => parameters.DisposeLoaded();

    private Tensor RunEncoder(Tensor image, ActivationTap? tap) =>
        encoder?.Forward(image, tap) ?? throw new InvalidOperationException("this autoencoder was loaded without its encoder");

    private Tensor RunDecoder(Tensor latents, ActivationTap? tap) =>
        decoder?.Forward(latents, tap) ?? throw new InvalidOperationException("this autoencoder was loaded without its decoder");

    private static void CheckShape(Tensor x, int channels, string what)
    {
        if (x.dim() != 4 || x.shape[1] != channels)
        {
            throw new ArgumentException($"{what} of shape [{string.Join(", ", x.shape)}], expected [B, {channels}, height, width]", nameof(x));
        }
    }
}
