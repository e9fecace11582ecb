using MetaQuery.Models.Layers;
using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Models.Diffusion;

/// <summary>Softmax attention of the tokens to a condition whose keys and values do not change from step to step.</summary>
internal sealed class SanaCrossAttention
{
    private readonly Linear toQuery;
    private readonly Linear toKey;
    private readonly Linear toValue;
    private readonly Linear toOut;
    private readonly RmsNorm? queryNorm;
    private readonly RmsNorm? keyNorm;
    private readonly long heads;
    private readonly double scale;
    private readonly string path;

    public SanaCrossAttention(ParameterScope scope, SanaTransformerConfig config)
    {
        var (width, inner) = (config.Width, config.CrossWidth);
        toQuery = new Linear(scope.Child("to_q"), width, inner);
        toKey = new Linear(scope.Child("to_k"), config.CrossAttentionDim, inner);
        toValue = new Linear(scope.Child("to_v"), config.CrossAttentionDim, inner);
        toOut = new Linear(scope.Child("to_out.0"), inner, width);
        if (config.QkNorm)
        {
            queryNorm = new RmsNorm(scope.Child("norm_q"), inner, 1e-5);
            keyNorm = new RmsNorm(scope.Child("norm_k"), inner, 1e-5);
        }

        heads = config.NumCrossAttentionHeads;
        scale = 1 / Math.Sqrt(config.CrossAttentionHeadDim);
        path = scope.Prefix;
    }

    /// <param name="condition">The projected condition, [B, T, width].</param>
    /// <param name="tap">Is shown to_k's output.</param>
    /// <returns>Keys and values, [B, H, T, D] each.</returns>
    public (Tensor Keys, Tensor Values) Project(Tensor condition, ActivationTap? tap)
    {
        using var scope = NewDisposeScope();
        var keys = toKey.Forward(condition);
        tap?.Invoke($"{path}.to_k", keys);
        keys = SplitHeads(keyNorm?.Forward(keys) ?? keys);
        var values = SplitHeads(toValue.Forward(condition));
        return (keys.MoveToOuterDisposeScope(), values.MoveToOuterDisposeScope());
    }

    /// <param name="x">[B, L, width].</param>
    /// <param name="keys">[B, H, T, D].</param>
    /// <param name="values">[B, H, T, D].</param>
    /// <param name="bias">[B, 1, 1 or L, T], added to the scores, or null.</param>
    /// <returns>[B, L, width].</returns>
    public Tensor Forward(Tensor x, Tensor keys, Tensor values, Tensor? bias)
    {
        using var scope = NewDisposeScope();
        var query = toQuery.Forward(x);
        query = SplitHeads(queryNorm?.Forward(query) ?? query);
        var scores = matmul(query * scale, keys.transpose(-1, -2)).to(ScalarType.Float32); // [B, H, L, T]
        scores = bias is null ? scores : scores + bias;
        var output = matmul(nn.functional.softmax(scores, -1).to(values.dtype), values);
        return toOut.Forward(output.transpose(1, 2).reshape(x.shape[0], x.shape[1], -1)).MoveToOuterDisposeScope();
    }

    // [B, L, H*D] -> [B, H, L, D]
    private Tensor SplitHeads(Tensor x) => x.view(x.shape[0], x.shape[1], heads, -1).transpose(1, 2);
}
