using MetaQuery.Models.Layers;
using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Models.Diffusion;

/// <summary>
/// One block: modulated linear self-attention, cross-attention on the unnormalised stream without a gate, modulated
/// mix-feed-forward. The stream and the norms are float32 whatever the weights are.
/// </summary>
internal sealed class SanaTransformerBlock
{
    private readonly SanaLinearAttention selfAttention;
    private readonly SanaCrossAttention crossAttention;
    private readonly GluMbConv feedForward;
    private readonly Tensor scaleShiftTable;
    private readonly LayerNorm norm1;
    private readonly LayerNorm norm2;
    private readonly string path;

    public SanaTransformerBlock(ParameterScope scope, SanaTransformerConfig config)
    {
        selfAttention = new SanaLinearAttention(scope.Child("attn1"), config);
        crossAttention = new SanaCrossAttention(scope.Child("attn2"), config);
        feedForward = new GluMbConv(scope.Child("ff"), config.Width, config.MlpRatio);
        scaleShiftTable = scope.Load("scale_shift_table", 6, config.Width);
        norm1 = new LayerNorm(scope.Child("norm1"), config.Width, config.NormEpsilon, affine: false); // whatever norm_elementwise_affine says
        norm2 = new LayerNorm(scope.Child("norm2"), config.Width, config.NormEpsilon, config.NormElementwiseAffine);
        path = scope.Prefix;
    }

    public (Tensor Keys, Tensor Values) Project(Tensor condition, ActivationTap? tap) => crossAttention.Project(condition, tap);

    /// <param name="x">[B, L, width], float32.</param>
    /// <param name="modulation">[B, 6, width], float32.</param>
    /// <param name="keys">This block's keys of the condition.</param>
    /// <param name="values">This block's values of the condition.</param>
    /// <param name="bias">As in <see cref="SanaCrossAttention.Forward"/>.</param>
    /// <param name="gridHeight">Patches down.</param>
    /// <param name="gridWidth">Patches across.</param>
    /// <param name="tap">Is shown attn1, attn2, ff and the block's output.</param>
    /// <returns>[B, L, width], float32.</returns>
    public Tensor Forward(
        Tensor x, Tensor modulation, Tensor keys, Tensor values, Tensor? bias, long gridHeight, long gridWidth, ActivationTap? tap)
    {
        using var scope = NewDisposeScope();
        // shift, scale, gate of the attention, then of the feed-forward; [B, 1, width] each
        var rows = (modulation + scaleShiftTable.to(ScalarType.Float32)).chunk(6, 1);

        var attended = selfAttention.Forward((norm1.Forward(x) * (rows[1] + 1)) + rows[0], tap);
        tap?.Invoke($"{path}.attn1", attended);
        x = x + (rows[2] * attended);

        var crossed = crossAttention.Forward(x, keys, values, bias);
        tap?.Invoke($"{path}.attn2", crossed);
        x = x + crossed;

        var normed = (norm2.Forward(x) * (rows[4] + 1)) + rows[3];
        // [B, L, C] -> [B, C, height, width]: a view, and channels-last already, which the depth-wise convolution needs to be fast
        var image = normed.view(x.shape[0], gridHeight, gridWidth, -1).permute(0, 3, 1, 2);
        var fed = feedForward.Forward(image, tap);
        tap?.Invoke($"{path}.ff", fed);
        x = x + (rows[5] * fed.flatten(2).transpose(1, 2));
        tap?.Invoke(path, x);
        return x.MoveToOuterDisposeScope();
    }
}
