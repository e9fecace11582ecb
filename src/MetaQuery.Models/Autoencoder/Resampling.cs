using MetaQuery.Models.Layers;
using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Models.Autoencoder;

/// <summary>Halves height and width; the shortcut averages groups of consecutive channels of the unshuffled input.</summary>
internal sealed class DownSample : IStageBlock
{
    private readonly Conv2d conv;
    private readonly bool unshuffle;
    private readonly bool shortcut;
    private readonly int group;

    public DownSample(ParameterScope scope, int inputs, int outputs, bool unshuffle, bool shortcut)
    {
        conv = unshuffle
            ? new Conv2d(scope.Child("conv"), inputs, outputs / 4, kernel: 3)
            : new Conv2d(scope.Child("conv"), inputs, outputs, kernel: 3, stride: 2);
        (this.unshuffle, this.shortcut, group) = (unshuffle, shortcut, inputs * 4 / outputs);
    }

    public Tensor Forward(Tensor x)
    {
        using var scope = NewDisposeScope();
        var hidden = conv.Forward(x);
        hidden = unshuffle ? nn.functional.pixel_unshuffle(hidden, 2) : hidden;
        if (shortcut)
        {
            hidden = hidden + ChannelGroups.Mean(nn.functional.pixel_unshuffle(x, 2), group);
        }

        return hidden.MoveToOuterDisposeScope();
    }
}

/// <summary>Doubles height and width; the shortcut repeats each channel in place and shuffles.</summary>
internal sealed class UpSample : IStageBlock
{
    private readonly Conv2d conv;
    private readonly bool shuffle;
    private readonly bool shortcut;
    private readonly int repeats;

    public UpSample(ParameterScope scope, int inputs, int outputs, bool shuffle, bool shortcut)
    {
        conv = new Conv2d(scope.Child("conv"), inputs, shuffle ? outputs * 4 : outputs, kernel: 3);
        (this.shuffle, this.shortcut, repeats) = (shuffle, shortcut, outputs * 4 / inputs);
    }

    public Tensor Forward(Tensor x)
    {
        using var scope = NewDisposeScope();
        var hidden = shuffle
            ? nn.functional.pixel_shuffle(conv.Forward(x), 2)
            : conv.Forward(nn.functional.interpolate(x, scale_factor: [2.0, 2.0], mode: InterpolationMode.Nearest));
        if (shortcut)
        {
            hidden = hidden + nn.functional.pixel_shuffle(x.repeat_interleave(repeats, 1), 2);
        }

        return hidden.MoveToOuterDisposeScope();
    }
}

internal static class ChannelGroups
{
    /// <summary>[B, C, height, width] to [B, C / group, height, width]: the mean of each run of consecutive channels.</summary>
    public static Tensor Mean(Tensor x, int group) =>
        x.reshape(x.shape[0], x.shape[1] / group, group, x.shape[2], x.shape[3]).mean([2L]);
}
