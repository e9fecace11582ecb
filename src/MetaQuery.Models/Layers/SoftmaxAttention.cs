using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Models.Layers;

/// <summary>softmax(q kᵀ / √D) v, the scores in float32, a few queries at a time so that memory stays bounded for large pictures.</summary>
internal static class SoftmaxAttention
{
    private const long MostScores = 1 << 24; // 64 MiB of float32

    /// <param name="query">[B, H, L, D].</param>
    /// <param name="key">[B, H, T, D].</param>
    /// <param name="value">[B, H, T, D].</param>
    /// <returns>[B, L, H · D], in the values' dtype.</returns>
    public static Tensor Attend(Tensor query, Tensor key, Tensor value)
    {
        using var scope = NewDisposeScope();
        var (batch, heads, length) = (query.shape[0], query.shape[1], query.shape[2]);
        var scaled = query * (1 / Math.Sqrt(query.shape[3]));
        var transposed = key.transpose(-1, -2);
        var perPart = Math.Clamp(MostScores / (batch * heads * key.shape[2]), 1, length);
        var parts = new List<Tensor>();
        for (var start = 0L; start < length; start += perPart)
        {
            using var partScope = NewDisposeScope();
            var scores = matmul(scaled.narrow(2, start, Math.Min(perPart, length - start)), transposed).to(ScalarType.Float32);
            parts.Add(matmul(nn.functional.softmax(scores, -1).to(value.dtype), value).MoveToOuterDisposeScope());
        }

        var joined = parts.Count == 1 ? parts[0] : torch.cat([.. parts], 2);
        return joined.transpose(1, 2).reshape(batch, length, -1).MoveToOuterDisposeScope();
    }

    /// <summary>[B, L, H · D] to [B, H, L, D].</summary>
    public static Tensor SplitHeads(Tensor x, long heads)
    {
        using var split = x.view(x.shape[0], x.shape[1], heads, -1);
        return split.transpose(1, 2);
    }
}
