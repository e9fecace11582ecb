using MetaQuery.Models.Layers;
using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Models.Autoencoder;

/// <summary>One block of a stage: [B, C, height, width] to the same shape.</summary>
internal interface IStageBlock
{
    Tensor Forward(Tensor x);
}

/// <summary>3 × 3 convolution, activation, 3 × 3 convolution, RMS norm; the input is added.</summary>
internal sealed class ResBlock(ParameterScope scope, int channels, string activation) : IStageBlock
{
    private readonly Conv2d conv1 = new(scope.Child("conv1"), channels, channels, kernel: 3);
    private readonly Conv2d conv2 = new(scope.Child("conv2"), channels, channels, kernel: 3, bias: false);
    private readonly RmsNorm norm = new(scope.Child("norm"), channels, 1e-5, bias: true, overChannels: true);

    public Tensor Forward(Tensor x)
    {
        using var disposeScope = NewDisposeScope();
        var hidden = conv1.Forward(x);
        hidden = activation == "relu" ? nn.functional.relu(hidden) : nn.functional.silu(hidden);
        return (norm.Forward(conv2.Forward(hidden)) + x).MoveToOuterDisposeScope();
    }
}
