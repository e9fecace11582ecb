using MetaQuery.Models.Layers;
using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Models.Autoencoder;

/// <summary>Multi-scale linear attention (EfficientViT, arXiv 2205.14756), then a gated convolution.</summary>
internal sealed class EfficientViTBlock(ParameterScope scope, int channels, AutoencoderDCConfig config, int[] kernels) : IStageBlock
{
    private readonly MultiscaleLinearAttention attention = new(scope.Child("attn"), channels, config.AttentionHeadDim, kernels);
    private readonly GluMbConv feedForward = new(scope.Child("conv_out"), channels, expandRatio: 4, normAndResidual: true);

    public Tensor Forward(Tensor x)
    {
        using var attended = attention.Forward(x);
        return feedForward.Forward(attended);
    }
}

/// <summary>
/// ReLU attention over all positions, with extra heads whose q, k and v are averaged over a neighbourhood first. Up to head
/// size many positions use the quadratic form, as the reference does: the same function, other rounding.
/// </summary>
internal sealed class MultiscaleLinearAttention
{
    private const double Epsilon = 1e-15; // SanaMultiscaleLinearAttention, diffusers 0.33

    private readonly Linear toQuery;
    private readonly Linear toKey;
    private readonly Linear toValue;
    private readonly (Conv2d DepthWise, Conv2d Grouped)[] scales;
    private readonly Linear toOut;
    private readonly RmsNorm norm;
    private readonly int headDim;

    public MultiscaleLinearAttention(ParameterScope scope, int channels, int headDim, int[] kernels)
    {
        var inner = channels / headDim * headDim;
        var wide = 3 * inner;
        toQuery = new Linear(scope.Child("to_q"), channels, inner, bias: false);
        toKey = new Linear(scope.Child("to_k"), channels, inner, bias: false);
        toValue = new Linear(scope.Child("to_v"), channels, inner, bias: false);
        scales = [.. kernels.Select((kernel, i) => (
            new Conv2d(scope.Child($"to_qkv_multiscale.{i}.proj_in"), wide, wide, kernel, groups: wide, bias: false),
            new Conv2d(scope.Child($"to_qkv_multiscale.{i}.proj_out"), wide, wide, kernel: 1, groups: wide / headDim, bias: false)))];
        toOut = new Linear(scope.Child("to_out"), inner * (1 + kernels.Length), channels, bias: false);
        norm = new RmsNorm(scope.Child("norm_out"), channels, 1e-5, bias: true, overChannels: true);
        this.headDim = headDim;
    }

    public Tensor Forward(Tensor x)
    {
        using var scope = NewDisposeScope();
        var (batch, height, width) = (x.shape[0], x.shape[2], x.shape[3]);
        var positions = height * width;
        var tokens = x.permute(0, 2, 3, 1);
        var single = torch.cat([toQuery.Forward(tokens), toKey.Forward(tokens), toValue.Forward(tokens)], -1).permute(0, 3, 1, 2);
        var all = torch.cat([single, .. scales.Select(scale => scale.Grouped.Forward(scale.DepthWise.Forward(single)))], 1);

        // Every 3 · head size channels are one head's q, k and v: not all q, then all k.
        var heads = all.reshape(batch, -1, 3 * headDim, positions).to(ScalarType.Float32).chunk(3, 2); // [B, H, D, L]
        var query = nn.functional.relu(heads[0]);
        var key = nn.functional.relu(heads[1]);
        var value = heads[2];
        Tensor output;
        if (positions > headDim)
        {
            var keyTransposed = key.transpose(-1, -2);
            var numerator = matmul(matmul(value, keyTransposed), query);
            var denominator = matmul(key.sum(-1, keepdim: true).transpose(-1, -2), query);
            output = numerator / (denominator + Epsilon);
        }
        else
        {
            var scores = matmul(key.transpose(-1, -2), query);
            output = matmul(value, scores / (scores.sum(2, keepdim: true) + Epsilon));
        }

        var image = output.reshape(batch, -1, height, width).permute(0, 2, 3, 1);
        return (norm.Forward(toOut.Forward(image).permute(0, 3, 1, 2)) + x).MoveToOuterDisposeScope();
    }
}
