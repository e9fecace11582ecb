using MetaQuery.Kernels;

namespace MetaQuery.Models.Autoencoder;

/// <summary>A stage's place in the workspace, for one picture: its stream [height · width, channels] and the padded copy of it.</summary>
internal sealed unsafe class FusedStage(FusedDecoderWorkspace workspace, int index, int height, int width, int channels, KernelType type)
{
    public int Height => height;

    public int Width => width;

    public int Channels => channels;

    public long Positions => (long)height * width;

    public KernelType Type => type;

    public int Threads => workspace.Threads;

    public long ElementBytes => type == KernelType.BFloat16 ? 2 : 4;

    public float* Stream => (float*)Buffer(FusedDecoderRole.Stream, Positions * channels * sizeof(float));

    /// <summary>Whether <see cref="Padded"/> holds the stream as it is now.</summary>
    public bool PaddedIsCurrent { get; set; }

    /// <summary>[height + 2, width + 2, channels] of <see cref="Type"/>.</summary>
    public void* Padded => PaddedBuffer(FusedDecoderRole.Padded, channels);

    public void* PaddedBuffer(FusedDecoderRole role, long depth) => Buffer(role, (height + 2L) * (width + 2) * depth * ElementBytes);

    public void* Buffer(FusedDecoderRole role, long bytes) => workspace.Buffer(index, role, bytes);

    /// <summary>The padded copy, brought up to date.</summary>
    public void* CurrentPadded()
    {
        if (!PaddedIsCurrent)
        {
            RawKernels.PadPixels(Stream, Padded, type, height, width, channels, Threads);
            PaddedIsCurrent = true;
        }

        return Padded;
    }

    /// <summary>The stream as a product reads it: itself, or rounded.</summary>
    public void* Rounded(float* values, long perPosition)
    {
        if (type == KernelType.Float32)
        {
            return values;
        }

        var rounded = Buffer(FusedDecoderRole.Rounded, Positions * Math.Max(perPosition, 4L * channels) * ElementBytes);
        RawKernels.RoundToBFloat16(values, rounded, Positions * perPosition);
        return rounded;
    }
}

/// <summary>A block of the fused decoder: changes a stage's stream in place.</summary>
internal interface IFusedStageBlock : IDisposable
{
    void Forward(FusedStage stage);
}
