using MetaQuery.Kernels;
using MetaQuery.Models.Checkpoints;
using MetaQuery.Models.Diffusion;
using MetaQuery.Models.Layers;
using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Models.Autoencoder;

/// <summary>
/// <see cref="AutoencoderDC.Decode"/>'s function for inference on a CPU: channels last, norms, activations and residuals fused, one
/// picture at a time, so that a picture's bits depend on nothing but its latents. Immutable: any number of threads may use one,
/// each with a workspace of its own.
/// </summary>
public sealed unsafe class FusedDecoder : IDisposable
{
    private readonly AutoencoderDCConfig config;
    private readonly KernelType type;
    private readonly PackedConvolution convIn;
    private readonly FusedUpSample?[] upSamples;
    private readonly IFusedStageBlock[][] stages;
    private readonly FusedChannelNorm norm;
    private readonly PackedConvolution convOut;
    private readonly int outputScale;

    private FusedDecoder(ParameterScope scope, AutoencoderDCConfig config, FusedPacking packing)
    {
        this.config = config;
        type = packing.Type;
        var (channels, layers, side) = (config.Decoder.Channels, config.Decoder.Layers, config.Decoder);
        convIn = new PackedConvolution(
            scope.LoadStored("conv_in.weight", channels[^1], config.LatentChannels, 3, 3), scope.Load("conv_in.bias", channels[^1]), packing.Type, packing.Features);
        upSamples = new FusedUpSample?[channels.Count];
        stages = new IFusedStageBlock[channels.Count][];
        for (var stage = 0; stage < channels.Count; stage++)
        {
            var stageScope = scope.Child($"up_blocks.{stage}");
            var first = 0;
            if (stage < channels.Count - 1 && layers[stage] > 0)
            {
                upSamples[stage] = new FusedUpSample(stageScope.Child("0"), channels[stage + 1], channels[stage], packing);
                first = 1;
            }

            stages[stage] = [.. Enumerable.Range(first, layers[stage]).Select(index => side.BlockTypes[stage] == "ResBlock"
                ? (IFusedStageBlock)new FusedResBlock(stageScope.Child($"{index}"), channels[stage], side.Activations[stage], packing)
                : new FusedEfficientViTBlock(stageScope.Child($"{index}"), channels[stage], config.AttentionHeadDim, side.QkvMultiscales[stage], packing))];
        }

        var last = LastChannels;
        norm = new FusedChannelNorm(scope.Child("norm_out"), last);
        outputScale = layers[0] > 0 ? 1 : 2;
        var final = layers[0] > 0 ? scope.Child("conv_out") : scope.Child("conv_out.conv");
        convOut = LastConvolution(final.Load("weight", config.InChannels, last, 3, 3), final.Load("bias", config.InChannels), packing);
    }

    /// <summary>Which bfloat16 instructions are used, for the numerics fingerprint.</summary>
    public FusedPrecision Precision => type == KernelType.BFloat16 ? FusedPrecision.BFloat16 : FusedPrecision.Float32;

    /// <summary>Why this CPU cannot run a decoder of this shape here, or null.</summary>
    public static string? WhyUnsupported(AutoencoderDCConfig config, FusedPrecision precision) =>
        precision.WhyUnsupported()
        ?? (config.PixelShuffleUp ? "upsample_block_type is pixel_shuffle"
        : config.Decoder.QkvMultiscales.Any(kernels => Array.Exists(kernels, kernel => kernel % 2 == 0)) ? "a multi-scale kernel is even"
        : null);

    /// <param name="source">diffusion_pytorch_model.safetensors of a vae folder.</param>
    /// <param name="config">Its config.json.</param>
    /// <param name="precision">Of convolutions and products.</param>
    /// <exception cref="CheckpointException">A tensor is missing or has another shape.</exception>
    /// <exception cref="NotSupportedException"><see cref="WhyUnsupported"/> has a reason.</exception>
    public static FusedDecoder Load(WeightSource source, AutoencoderDCConfig config, FusedPrecision precision)
    {
        if (WhyUnsupported(config, precision) is { } reason)
        {
            throw new NotSupportedException(reason);
        }

        var packing = precision == FusedPrecision.BFloat16
            ? new FusedPacking(KernelType.BFloat16, RawKernels.Features)
            : new FusedPacking(KernelType.Float32, KernelFeatures.None);
        return ParameterScope.Build(source, ScalarType.Float32, CPU, scope =>
        {
            var decoder = new FusedDecoder(scope.Child("decoder"), config, packing);
            scope.DisposeLoaded(); // packed now
            return decoder;
        });
    }

    /// <summary>One picture.</summary>
    /// <param name="latents">[latent channels, height, width], scaled.</param>
    /// <param name="height">Of the latents.</param>
    /// <param name="width">Of the latents.</param>
    /// <param name="image">Receives [3, height · ratio, width · ratio], nominally in [-1, 1] but not clamped.</param>
    /// <param name="workspace">Not in use by another thread.</param>
    /// <exception cref="ArgumentException">Sizes disagree.</exception>
    public void Decode(ReadOnlySpan<float> latents, int height, int width, Span<float> image, FusedDecoderWorkspace workspace)
    {
        var ratio = config.SpatialCompressionRatio;
        if (height < 1 || width < 1 || latents.Length != config.LatentChannels * height * width || image.Length != config.InChannels * height * ratio * width * ratio)
        {
            throw new ArgumentException($"{latents.Length} latents of {height} x {width} and {image.Length} values for an image do not fit {config.LatentChannels} channels and ratio {ratio}", nameof(latents));
        }

        workspace.Begin(height, width);
        var (channels, stageCount) = (config.Decoder.Channels, config.Decoder.Channels.Count);
        var current = new FusedStage(workspace, stageCount - 1, height, width, channels[^1], type);
        EnterLatents(latents, current);
        for (var stage = stageCount - 1; stage >= 0; stage--)
        {
            if (upSamples[stage] is { } upSample)
            {
                var finer = new FusedStage(workspace, stage, current.Height * 2, current.Width * 2, channels[stage], type);
                upSample.Forward(current, finer);
                current = finer;
            }

            foreach (var block in stages[stage])
            {
                block.Forward(current);
            }
        }

        var padded = current.PaddedBuffer(FusedDecoderRole.PaddedHidden, current.Channels);
        norm.RectifyInto(current, padded);
        var pixels = (float*)current.Buffer(FusedDecoderRole.Update, current.Positions * Math.Max(current.Channels, convOut.Outputs) * sizeof(float));
        convOut.Run(
            new ConvolutionTarget
            {
                Padded = padded, Height = current.Height, Width = current.Width, Output = pixels,
                RowStride = current.Width * convOut.Outputs, PixelStride = convOut.Outputs,
            },
            workspace.Threads);
        LeavePixels(pixels, current, image);
    }

    public void Dispose()
    {
        convIn.Dispose();
        foreach (var upSample in upSamples)
        {
            upSample?.Dispose();
        }

        foreach (var block in stages.SelectMany(blocks => blocks))
        {
            block.Dispose();
        }

        norm.Dispose();
        convOut.Dispose();
    }

    private int LastChannels => config.Decoder.Layers[0] > 0 ? config.Decoder.Channels[0] : config.Decoder.Channels[1];

    // conv_in, and the latents' channels repeated in place
    private void EnterLatents(ReadOnlySpan<float> latents, FusedStage stage)
    {
        var (height, width, depth) = (stage.Height, stage.Width, config.LatentChannels);
        var padded = stage.PaddedBuffer(FusedDecoderRole.PaddedHidden, Math.Max(depth, stage.Channels));
        var unscaled = (float*)stage.Buffer(FusedDecoderRole.Update, stage.Positions * Math.Max(depth, stage.Channels) * sizeof(float));
        var (stream, repeats, factor) = ((nint)stage.Stream, stage.Channels / depth, (float)config.ScalingFactor);
        for (var position = 0; position < height * width; position++)
        {
            for (var c = 0; c < depth; c++)
            {
                var value = latents[(c * height * width) + position] / factor;
                unscaled[(position * depth) + c] = value;
                new Span<float>((float*)stream + ((long)position * stage.Channels) + (c * repeats), repeats).Fill(value);
            }
        }

        // The same buffer serves the blocks' hidden pixels, whose border lies elsewhere.
        System.Runtime.InteropServices.NativeMemory.Clear(padded, (nuint)((height + 2L) * (width + 2) * Math.Max(depth, stage.Channels) * stage.ElementBytes));
        RawKernels.PadPixels(unscaled, padded, type, height, width, depth, stage.Threads);
        convIn.Run(
            new ConvolutionTarget
            {
                Padded = padded, Height = height, Width = width, Output = stage.Stream, Residual = true,
                RowStride = (long)width * stage.Channels, PixelStride = stage.Channels,
            },
            stage.Threads);
        System.Runtime.InteropServices.NativeMemory.Clear(padded, (nuint)((height + 2L) * (width + 2) * Math.Max(depth, stage.Channels) * stage.ElementBytes));
        stage.PaddedIsCurrent = false;
    }

    // With a resampling at the end, all four phases are outputs of one 3 × 3 convolution: three channels alone would fill no vector.
    private PackedConvolution LastConvolution(Tensor weight, Tensor bias, FusedPacking packing)
    {
        if (outputScale == 1)
        {
            return new PackedConvolution(weight, bias, packing.Type, packing.Features);
        }

        using var scope = NewDisposeScope();
        var phases = Enumerable.Range(0, 4).Select(phase =>
        {
            var (bottom, right) = (phase / 2, phase % 2);
            // two columns to three, then two rows to three
            var two = FusedUpSample.PhaseWeight(weight, bottom, right);
            var columns = right == 0 ? torch.cat([two, zeros_like(two.narrow(3, 0, 1))], 3) : torch.cat([zeros_like(two.narrow(3, 0, 1)), two], 3);
            var row = zeros_like(columns.narrow(2, 0, 1));
            return bottom == 0 ? torch.cat([columns, row], 2) : torch.cat([row, columns], 2);
        });
        return new PackedConvolution(torch.cat([.. phases], 0), torch.cat([bias, bias, bias, bias], 0), packing.Type, packing.Features);
    }

    private void LeavePixels(float* pixels, FusedStage stage, Span<float> image)
    {
        var (depth, height, width) = (config.InChannels, stage.Height * outputScale, stage.Width * outputScale);
        for (var y = 0; y < height; y++)
        {
            for (var x = 0; x < width; x++)
            {
                var phase = (y % outputScale * outputScale) + (x % outputScale);
                var from = pixels + ((((long)(y / outputScale) * stage.Width) + (x / outputScale)) * convOut.Outputs) + (phase * depth);
                for (var c = 0; c < depth; c++)
                {
                    image[(((c * height) + y) * width) + x] = from[c];
                }
            }
        }
    }
}
