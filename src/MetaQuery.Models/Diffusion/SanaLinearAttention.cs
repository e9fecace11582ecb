using MetaQuery.Models.Layers;
using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Models.Diffusion;

/// <summary>
/// Self-attention with ReLU in place of the softmax (Katharopoulos et al., arXiv 2006.16236): q (kᵀ v) / (q Σk), linear in the
/// number of tokens. There is no softmax scale, and it is computed in float32 whatever the dtype.
/// </summary>
internal sealed class SanaLinearAttention
{
    private const double Epsilon = 1e-15; // SanaLinearAttnProcessor2_0, diffusers 0.33

    private readonly Linear toQuery;
    private readonly Linear toKey;
    private readonly Linear toValue;
    private readonly Linear toOut;
    private readonly RmsNorm? queryNorm;
    private readonly RmsNorm? keyNorm;
    private readonly long heads;
    private readonly string path;

    public SanaLinearAttention(ParameterScope scope, SanaTransformerConfig config)
    {
        var width = config.Width;
        toQuery = new Linear(scope.Child("to_q"), width, width, config.AttentionBias);
        toKey = new Linear(scope.Child("to_k"), width, width, config.AttentionBias);
        toValue = new Linear(scope.Child("to_v"), width, width, config.AttentionBias);
        toOut = new Linear(scope.Child("to_out.0"), width, width);
        if (config.QkNorm)
        {
            queryNorm = new RmsNorm(scope.Child("norm_q"), width, 1e-5);
            keyNorm = new RmsNorm(scope.Child("norm_k"), width, 1e-5);
        }

        heads = config.NumAttentionHeads;
        path = scope.Prefix;
    }

    /// <param name="x">[B, L, width].</param>
    /// <param name="tap">Is shown to_q's output.</param>
    /// <returns>[B, L, width].</returns>
    public Tensor Forward(Tensor x, ActivationTap? tap)
    {
        using var scope = NewDisposeScope();
        var query = toQuery.Forward(x);
        tap?.Invoke($"{path}.to_q", query);
        var key = toKey.Forward(x);
        query = SplitHeads(nn.functional.relu(queryNorm?.Forward(query) ?? query));
        key = SplitHeads(nn.functional.relu(keyNorm?.Forward(key) ?? key));
        var value = SplitHeads(toValue.Forward(x));

        var keyValue = matmul(key.transpose(-1, -2), value);                                  // [B, H, D, D]
        var keySum = key.sum(-2, keepdim: true).transpose(-1, -2);                            // [B, H, D, 1]
        var output = matmul(query, keyValue) / (matmul(query, keySum) + Epsilon);             // [B, H, L, D]
        return toOut.Forward(output.transpose(1, 2).reshape(x.shape[0], x.shape[1], -1)).MoveToOuterDisposeScope();
    }

    // [B, L, H*D] -> [B, H, L, D]
    private Tensor SplitHeads(Tensor x) =>
        x.to(ScalarType.Float32).view(x.shape[0], x.shape[1], heads, -1).transpose(1, 2);
}
