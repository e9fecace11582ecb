using MetaQuery.Kernels;
using MetaQuery.Models.Layers;
using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Models.Autoencoder;

/// <summary>What the fused decoder's layers are packed for.</summary>
internal readonly record struct FusedPacking(KernelType Type, KernelFeatures Features);

/// <summary><see cref="ResBlock"/>: the first convolution ends in the activation, the second in norm and residual.</summary>
internal sealed unsafe class FusedResBlock : IFusedStageBlock
{
    private readonly PackedConvolution conv1;
    private readonly PackedConvolution conv2;
    private readonly FusedChannelNorm norm;
    private readonly KernelActivation activation;

    public FusedResBlock(ParameterScope scope, int channels, string activation, FusedPacking packing)
    {
        var first = scope.Child("conv1");
        conv1 = new PackedConvolution(first.LoadStored("weight", channels, channels, 3, 3), first.Load("bias", channels), packing.Type, packing.Features);
        conv2 = new PackedConvolution(scope.Child("conv2").LoadStored("weight", channels, channels, 3, 3), null, packing.Type, packing.Features);
        norm = new FusedChannelNorm(scope.Child("norm"), channels);
        this.activation = activation == "relu" ? KernelActivation.Relu : KernelActivation.Silu;
    }

    public void Forward(FusedStage stage)
    {
        var (channels, rowPixels) = (stage.Channels, stage.Width + 2L);
        var hidden = stage.PaddedBuffer(FusedDecoderRole.PaddedHidden, channels);
        conv1.Run(
            new ConvolutionTarget
            {
                Padded = stage.CurrentPadded(), Height = stage.Height, Width = stage.Width, Type = stage.Type, Activation = activation,
                Output = (byte*)hidden + ((rowPixels + 1) * channels * stage.ElementBytes), RowStride = rowPixels * channels, PixelStride = channels,
            },
            stage.Threads);
        var update = (float*)stage.Buffer(FusedDecoderRole.Update, stage.Positions * channels * sizeof(float));
        conv2.Run(
            new ConvolutionTarget
            {
                Padded = hidden, Height = stage.Height, Width = stage.Width, Output = update,
                RowStride = (long)stage.Width * channels, PixelStride = channels,
            },
            stage.Threads);
        norm.AddTo(stage, update, stage.Padded);
        stage.PaddedIsCurrent = true;
    }

    public void Dispose()
    {
        conv1.Dispose();
        conv2.Dispose();
        norm.Dispose();
    }
}

/// <summary>RMS norm over channels, ε 1e-5, with weight and bias.</summary>
internal sealed unsafe class FusedChannelNorm(ParameterScope scope, int channels) : IDisposable
{
    private const float Epsilon = 1e-5f; // get_normalization("rms_norm"), diffusers 0.33

    private readonly NativeBuffer weight = PackedWeights.Floats(scope.Load("weight", channels));
    private readonly NativeBuffer bias = PackedWeights.Floats(scope.Load("bias", channels));

    /// <summary>Adds the normed update to the stream, and writes the sum to a padded copy unless that is null.</summary>
    public void AddTo(FusedStage stage, float* update, void* padded) => RawKernels.RmsNormAdd(
        update, weight.Floats, bias.Floats, stage.Stream, padded, stage.Type, stage.Height, stage.Width, channels, Epsilon, stage.Threads);

    /// <summary>The normed and rectified stream into the stage's padded copy.</summary>
    public void RectifyInto(FusedStage stage, void* padded)
    {
        for (var y = 0L; y < stage.Height; y++)
        {
            var target = (byte*)padded + ((((y + 1) * (stage.Width + 2)) + 1) * channels * stage.ElementBytes);
            RawKernels.RmsNorm(
                stage.Stream + (y * stage.Width * channels), KernelType.Float32, weight.Floats, bias.Floats, target, stage.Type, stage.Width, channels,
                Epsilon, KernelActivation.Relu, threads: 1);
        }
    }

    public void Dispose()
    {
        weight.Dispose();
        bias.Dispose();
    }
}

/// <summary>
/// <see cref="UpSample"/> by interpolation. Repeating a pixel and then taking 3 × 3 of them reads only 2 × 2 different ones, so each
/// of the four output phases is a 2 × 2 convolution of the small picture with summed weights: 4/9 of the arithmetic.
/// </summary>
internal sealed unsafe class FusedUpSample : IDisposable
{
    private readonly PackedConvolution[] phases;
    private readonly int inputs;
    private readonly int outputs;

    public FusedUpSample(ParameterScope scope, int inputs, int outputs, FusedPacking packing)
    {
        using var disposeScope = NewDisposeScope();
        var weight = scope.Child("conv").Load("weight", outputs, inputs, 3, 3);
        var bias = scope.Child("conv").Load("bias", outputs);
        phases = [.. Enumerable.Range(0, 4).Select(phase => new PackedConvolution(
            PhaseWeight(weight, phase / 2, phase % 2), bias, packing.Type, packing.Features, offsetY: phase / 2, offsetX: phase % 2))];
        (this.inputs, this.outputs) = (inputs, outputs);
    }

    /// <param name="from">The coarser stage.</param>
    /// <param name="to">Of twice its height and width; its stream is written.</param>
    public void Forward(FusedStage from, FusedStage to)
    {
        RawKernels.UpsampleShortcut(from.Stream, to.Stream, from.Height, from.Width, inputs, outputs, from.Threads);
        var rowStride = (long)to.Width * outputs;
        for (var phase = 0; phase < 4; phase++)
        {
            phases[phase].Run(
                new ConvolutionTarget
                {
                    Padded = from.CurrentPadded(), Height = from.Height, Width = from.Width, Residual = true,
                    Output = to.Stream + (phase / 2 * rowStride) + (phase % 2 * outputs), RowStride = 2 * rowStride, PixelStride = 2L * outputs,
                },
                from.Threads);
        }

        to.PaddedIsCurrent = false;
    }

    /// <summary>The 2 × 2 weights of output rows 2y + <paramref name="bottom"/> and columns 2x + <paramref name="right"/>; [.., 3, 3] to [.., 2, 2].</summary>
    public static Tensor PhaseWeight(Tensor weight, int bottom, int right) => Fold(Fold(weight, 2, bottom), 3, right);

    public void Dispose() => Array.ForEach(phases, phase => phase.Dispose());

    // The first phase reads pixel -1 once and pixel 0 twice, the second one pixel 0 twice and pixel 1 once.
    private static Tensor Fold(Tensor weight, int dimension, int phase)
    {
        var (first, middle, last) = (weight.narrow(dimension, 0, 1), weight.narrow(dimension, 1, 1), weight.narrow(dimension, 2, 1));
        return phase == 0 ? torch.cat([first, middle + last], dimension) : torch.cat([first + middle, last], dimension);
    }
}
