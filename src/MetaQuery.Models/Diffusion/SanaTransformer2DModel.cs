using MetaQuery.Models.Checkpoints;
using MetaQuery.Models.Layers;
using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Models.Diffusion;

/// <summary>
/// The Sana diffusion transformer (arXiv 2410.10629), as diffusers 0.33 computes it: plain tensor operators, differentiable, on
/// any device.
/// </summary>
public sealed class SanaTransformer2DModel : IConditionedNetwork<SanaContext>
{
    private const double CaptionNormEpsilon = 1e-5; // caption_norm, diffusers 0.33
    private const double OutputNormEpsilon = 1e-6; // norm_out, diffusers 0.33
    private const double MaskedBias = -10000; // not minus infinity: a row with no token at all stays finite

    private readonly ParameterScope parameters;
    private readonly Conv2dPatch patchEmbed;
    private readonly TimestepEmbedding timeEmbed;
    private readonly Linear caption1;
    private readonly Linear caption2;
    private readonly RmsNorm captionNorm;
    private readonly SanaTransformerBlock[] blocks;
    private readonly LayerNorm outputNorm;
    private readonly Tensor scaleShiftTable;
    private readonly Linear projectOut;

    private SanaTransformer2DModel(ParameterScope scope, SanaTransformerConfig config)
    {
        parameters = scope;
        Config = config;
        var width = config.Width;
        patchEmbed = new Conv2dPatch(scope.Child("patch_embed.proj"), config.InChannels, width, config.PatchSize);
        timeEmbed = new TimestepEmbedding(scope.Child("time_embed"), config);
        caption1 = new Linear(scope.Child("caption_projection.linear_1"), config.CaptionChannels, width);
        caption2 = new Linear(scope.Child("caption_projection.linear_2"), width, width);
        captionNorm = new RmsNorm(scope.Child("caption_norm"), width, CaptionNormEpsilon);
        blocks = [.. Enumerable.Range(0, config.NumLayers).Select(i => new SanaTransformerBlock(scope.Child($"transformer_blocks.{i}"), config))];
        outputNorm = new LayerNorm(scope.Child("norm_out"), width, OutputNormEpsilon, affine: false);
        scaleShiftTable = scope.Load("scale_shift_table", 2, width);
        projectOut = new Linear(scope.Child("proj_out"), width, config.PatchSize * config.PatchSize * config.OutChannels);
    }

    public SanaTransformerConfig Config { get; }

    /// <summary>Parameters under the checkpoint's names; borrowed.</summary>
    public IReadOnlyDictionary<string, Tensor> Parameters => parameters.Loaded;

    /// <summary>If set, is shown the outputs of submodules under their names in the checkpoint.</summary>
    public ActivationTap? Tap { get; set; }

    /// <param name="source">diffusion_pytorch_model.safetensors of a transformer folder.</param>
    /// <param name="config">Its config.json.</param>
    /// <param name="dtype">Of the weights and matrix products; the residual stream and the norms stay float32.</param>
    /// <param name="device">Where the weights are put; the CPU if null.</param>
    /// <exception cref="CheckpointException">A tensor is missing or has another shape.</exception>
    public static SanaTransformer2DModel Load(
        WeightSource source, SanaTransformerConfig config, ScalarType dtype = ScalarType.Float32, Device? device = null) =>
        ParameterScope.Build(source, dtype, device, scope => new SanaTransformer2DModel(scope, config));

    /// <summary>Everything the blocks need of a condition, which no step changes.</summary>
    /// <param name="condition">[B, T, caption channels].</param>
    /// <param name="mask">[B, T], 1 for a token that may be seen; or [B, 1 or L, T], added to the scores as it is; or null.</param>
    /// <returns>The caller disposes of it.</returns>
    public SanaContext Prepare(Tensor condition, Tensor? mask = null)
    {
        if (condition.dim() != 3 || condition.shape[2] != Config.CaptionChannels)
        {
            throw new ArgumentException(
                $"a condition has the shape [{string.Join(", ", condition.shape)}], expected [B, T, {Config.CaptionChannels}]", nameof(condition));
        }

        using var scope = NewDisposeScope();
        var projected = caption2.Forward(TanhGelu(caption1.Forward(condition)));
        Tap?.Invoke("caption_projection", projected);
        projected = captionNorm.Forward(projected);
        Tap?.Invoke("caption_norm", projected);
        var keysAndValues = blocks.Select(block => block.Project(projected, Tap)).ToArray();
        foreach (var (keys, values) in keysAndValues)
        {
            keys.MoveToOuterDisposeScope();
            values.MoveToOuterDisposeScope();
        }

        return new SanaContext(keysAndValues, mask is null ? null : BiasOf(mask).MoveToOuterDisposeScope());
    }

    /// <summary>The velocity of a batch.</summary>
    /// <param name="latents">[B, in channels, height, width].</param>
    /// <param name="timesteps">[B], of 0 … 1000; fractions allowed.</param>
    /// <param name="context">Of the same B rows.</param>
    /// <param name="guidance">[B], already times the config's guidance_embeds_scale; only and always for a model with guidance embeddings.</param>
    /// <returns>[B, out channels, height, width], float32; the caller owns it.</returns>
    /// <exception cref="ArgumentException">Shapes disagree, or height or width is not a multiple of the patch size.</exception>
    public Tensor Forward(Tensor latents, ReadOnlySpan<float> timesteps, SanaContext context, ReadOnlySpan<float> guidance = default)
    {
        var (batch, height, width) = (latents.shape[0], latents.shape[2], latents.shape[3]);
        var patch = Config.PatchSize;
        SanaShapes.Check(Config, latents.shape, timesteps.Length, guidance.Length);
        var (gridHeight, gridWidth) = (height / patch, width / patch);

        using var scope = NewDisposeScope();
        var x = patchEmbed.Forward(latents).to(ScalarType.Float32);
        if (Config.InterpolationScale is { } interpolation)
        {
            var table = SineEmbedding.OfPatches(Config.Width, (int)gridHeight, (int)gridWidth, Config.SampleSize / patch, interpolation);
            x = x + tensor(table, [1, gridHeight * gridWidth, Config.Width]).to(x.device);
        }

        Tap?.Invoke("patch_embed", x);
        var (modulation, embedding) = timeEmbed.Forward(timesteps, guidance, latents.device);
        Tap?.Invoke("time_embed.0", modulation);
        Tap?.Invoke("time_embed.1", embedding);
        var six = modulation.view(batch, 6, -1);
        for (var i = 0; i < blocks.Length; i++)
        {
            var (keys, values) = context.KeysAndValues[i];
            x = blocks[i].Forward(x, six, keys, values, context.Bias, gridHeight, gridWidth, Tap);
        }

        var shiftAndScale = (scaleShiftTable.to(ScalarType.Float32) + embedding.unsqueeze(1)).chunk(2, 1);
        x = (outputNorm.Forward(x) * (shiftAndScale[1] + 1)) + shiftAndScale[0];
        Tap?.Invoke("norm_out", x);
        x = projectOut.Forward(x).to(ScalarType.Float32);
        Tap?.Invoke("proj_out", x);
        // [B, gh, gw, p, p, C] -> [B, C, gh, p, gw, p]
        return x.view(batch, gridHeight, gridWidth, patch, patch, Config.OutChannels).permute(0, 5, 1, 3, 2, 4)
            .reshape(batch, Config.OutChannels, height, width).MoveToOuterDisposeScope();
    }

    int IConditionedNetwork<SanaContext>.InChannels => Config.InChannels;

    SanaContext IConditionedNetwork<SanaContext>.Prepare(Tensor condition) => Prepare(condition);

    Tensor IConditionedNetwork<SanaContext>.Forward(Tensor latents, ReadOnlySpan<float> timesteps, SanaContext context) => Forward(latents, timesteps, context);

    public void Dispose() => parameters.DisposeLoaded();

    private static Tensor BiasOf(Tensor mask) =>
        mask.dim() == 3
            ? mask.to(ScalarType.Float32).unsqueeze(1)
            : ((mask.to(ScalarType.Float32) - 1) * -MaskedBias).unsqueeze(1).unsqueeze(1);

    private static Tensor TanhGelu(Tensor x)
    {
        var inner = Math.Sqrt(2 / Math.PI);
        return x * 0.5 * (((x + (x * x * x * 0.044715)) * inner).tanh() + 1);
    }

    /// <summary>Cuts latents into patches of p × p and projects each: a convolution whose stride is its size.</summary>
    private sealed class Conv2dPatch(ParameterScope scope, long channels, long width, int patch)
    {
        private readonly Conv2d projection = new(scope, channels, width, kernel: patch, stride: patch, padding: 0);

        // [B, C, height, width] -> [B, L, width]
        public Tensor Forward(Tensor latents) => projection.Forward(latents).flatten(2).transpose(1, 2);
    }
}
