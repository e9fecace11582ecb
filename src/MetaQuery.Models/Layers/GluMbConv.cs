using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Models.Layers;

/// <summary>
/// The gated mix-feed-forward of Sana (arXiv 2410.10629) and EfficientViT: 1 × 1 expansion, SiLU, 3 × 3 depth-wise convolution,
/// value · SiLU(gate) with the value in the first half, 1 × 1 projection without bias.
/// </summary>
internal sealed class GluMbConv
{
    private readonly Conv2d inverted;
    private readonly Conv2d depth;
    private readonly Conv2d point;
    private readonly RmsNorm? norm;
    private readonly string path;

    /// <param name="scope">Holds conv_inverted, conv_depth, conv_point and, if asked for, norm.</param>
    /// <param name="channels">Width in and out.</param>
    /// <param name="expandRatio">Hidden width = ⌊ratio · channels⌋.</param>
    /// <param name="normAndResidual">The autoencoder's form: RMS norm (ε 1e-5, with bias), then the input is added.</param>
    public GluMbConv(ParameterScope scope, long channels, double expandRatio, bool normAndResidual = false)
    {
        var hidden = (long)(expandRatio * channels);
        inverted = new Conv2d(scope.Child("conv_inverted"), channels, hidden * 2, kernel: 1);
        depth = new Conv2d(scope.Child("conv_depth"), hidden * 2, hidden * 2, kernel: 3, groups: hidden * 2);
        point = new Conv2d(scope.Child("conv_point"), hidden, channels, kernel: 1, bias: false);
        norm = normAndResidual ? new RmsNorm(scope.Child("norm"), channels, 1e-5, bias: true, overChannels: true) : null;
        path = scope.Prefix;
    }

    /// <param name="x">[B, C, height, width].</param>
    /// <param name="tap">Is shown conv_depth's output.</param>
    public Tensor Forward(Tensor x, ActivationTap? tap = null)
    {
        using var scope = NewDisposeScope();
        var hidden = depth.Forward(nn.functional.silu(inverted.Forward(x)));
        tap?.Invoke($"{path}.conv_depth", hidden);
        var halves = hidden.chunk(2, 1);
        var output = point.Forward(halves[0] * nn.functional.silu(halves[1]));
        if (norm is not null)
        {
            output = norm.Forward(output) + x;
        }

        return output.MoveToOuterDisposeScope();
    }
}
