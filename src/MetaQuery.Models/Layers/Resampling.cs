using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Models.Layers;

/// <summary>Halves height and width by a strided 3 × 3 convolution.</summary>
internal sealed class StridedDownsample
{
    private readonly Conv2d conv;
    private readonly int padding;

    /// <param name="scope">Holds conv.</param>
    /// <param name="channels">In and out.</param>
    /// <param name="padding">Zeros on each side; with 0, one row below and one column to the right instead.</param>
    public StridedDownsample(ParameterScope scope, int channels, int padding)
    {
        conv = new Conv2d(scope.Child("conv"), channels, channels, kernel: 3, stride: 2, padding: padding, channelsLast: true);
        this.padding = padding;
    }

    /// <param name="x">[B, C, height, width].</param>
    public Tensor Forward(Tensor x)
    {
        using var scope = NewDisposeScope();
        var padded = padding == 0 ? nn.functional.pad(x, [0, 1, 0, 1]) : x;
        return conv.Forward(padded).to(ScalarType.Float32).MoveToOuterDisposeScope();
    }
}

/// <summary>Doubles height and width by repeating pixels, then a 3 × 3 convolution.</summary>
internal sealed class NearestUpsample(ParameterScope scope, int channels)
{
    private readonly Conv2d conv = new(scope.Child("conv"), channels, channels, kernel: 3, channelsLast: true);

    /// <param name="x">[B, C, height, width].</param>
    /// <param name="height">Of the result; twice that of <paramref name="x"/>, or one less.</param>
    /// <param name="width">Of the result; twice that of <paramref name="x"/>, or one less.</param>
    public Tensor Forward(Tensor x, long height, long width)
    {
        using var disposeScope = NewDisposeScope();
        return conv.Forward(nn.functional.interpolate(x, size: [height, width], mode: InterpolationMode.Nearest)).to(ScalarType.Float32).MoveToOuterDisposeScope();
    }
}
