using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Models.Layers;

/// <summary>x / √(mean x² + ε) · γ (+ β) over one dimension, computed in float32: a bfloat16 mean of squares drops small channels.</summary>
internal sealed class RmsNorm
{
    private readonly Tensor weight;
    private readonly Tensor? bias;
    private readonly double epsilon;
    private readonly bool overChannels;

    /// <param name="scope">Holds weight and, if asked for, bias.</param>
    /// <param name="size">Length of the dimension.</param>
    /// <param name="epsilon">ε.</param>
    /// <param name="bias">Whether there is a β.</param>
    /// <param name="overChannels">Over dimension 1 of [B, C, height, width] instead of the last one.</param>
    public RmsNorm(ParameterScope scope, long size, double epsilon, bool bias = false, bool overChannels = false)
    {
        weight = scope.Load("weight", size);
        this.bias = scope.LoadIf(bias, "bias", size);
        this.epsilon = epsilon;
        this.overChannels = overChannels;
    }

    public Tensor Forward(Tensor x)
    {
        using var scope = NewDisposeScope();
        var wide = x.to(ScalarType.Float32);
        var square = wide.mul(wide).mean([overChannels ? 1L : -1L], keepdim: true);
        var result = wide * torch.rsqrt(square + epsilon) * Spread(weight);
        result = bias is null ? result : result + Spread(bias);
        return result.to(x.dtype).MoveToOuterDisposeScope();
    }

    private Tensor Spread(Tensor values)
    {
        var wide = values.to(ScalarType.Float32);
        return overChannels ? wide.view(-1, 1, 1) : wide;
    }
}
