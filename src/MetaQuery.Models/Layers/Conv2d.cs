using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Models.Layers;

/// <summary>A convolution over [B, C, height, width], "same" padding for odd kernels, computed in the weight's dtype.</summary>
internal sealed class Conv2d
{
    private readonly Tensor weight;
    private readonly Tensor? bias;
    private readonly long[] strides;
    private readonly long[] padding;
    private readonly long groups;

    /// <param name="scope">Holds weight and, if asked for, bias.</param>
    /// <param name="inputs">Channels in.</param>
    /// <param name="outputs">Channels out.</param>
    /// <param name="kernel">Height and width of the kernel.</param>
    /// <param name="stride">Of the output over the input.</param>
    /// <param name="groups">Of channels that are convolved apart.</param>
    /// <param name="bias">Whether there is one.</param>
    /// <param name="padding">Zeros on each side; half the kernel if null.</param>
    /// <param name="channelsLast">For pictures whose channels lie last in memory.</param>
    public Conv2d(
        ParameterScope scope, long inputs, long outputs, int kernel, int stride = 1, long groups = 1, bool bias = true, int? padding = null, bool channelsLast = false)
    {
        weight = channelsLast
            ? scope.LoadChannelsLast("weight", outputs, inputs / groups, kernel, kernel)
            : scope.Load("weight", outputs, inputs / groups, kernel, kernel);
        this.bias = scope.LoadIf(bias, "bias", outputs);
        strides = [stride, stride];
        var around = padding ?? kernel / 2;
        this.padding = [around, around];
        this.groups = groups;
    }

    public Tensor Forward(Tensor x) =>
        nn.functional.conv2d(x.to(weight.dtype), weight, bias, strides, padding, groups: groups);
}
