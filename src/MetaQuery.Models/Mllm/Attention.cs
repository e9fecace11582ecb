using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Models.Mllm;

/// <summary>Softmax attention with grouped keys and values, and the masks it takes.</summary>
public static class Attention
{
    /// <param name="query">[B, H, L, D], float32.</param>
    /// <param name="key">[B, G, T, D] with G dividing H: consecutive query heads share a key head.</param>
    /// <param name="value">[B, G, T, D].</param>
    /// <param name="mask">Added to the scores, [B or 1, 1, L or 1, T], float32; or null.</param>
    /// <returns>[B, H, L, D].</returns>
    public static Tensor Grouped(Tensor query, Tensor key, Tensor value, Tensor? mask)
    {
        using var scope = NewDisposeScope();
        var (batch, heads, length, size) = (query.shape[0], query.shape[1], query.shape[2], query.shape[3]);
        var (groups, total) = (key.shape[1], key.shape[2]);
        // The queries of one key head become rows of one product, so that keys and values need not be repeated.
        var rows = (query * (1 / Math.Sqrt(size))).reshape(batch, groups, heads / groups * length, size);
        var scores = matmul(rows, key.transpose(2, 3));
        if (mask is not null)
            scores = (scores.view(batch, groups, heads / groups, length, total) + mask.unsqueeze(2)).view(batch, groups, heads / groups * length, total);
        return matmul(scores.softmax(-1), value).view(batch, heads, length, size).MoveToOuterDisposeScope();
    }

    /// <summary>The causal mask of L new tokens behind T - L earlier ones, some of which are padding.</summary>
    /// <param name="attentionMask">[B, T], int64 or bool: 0 is padding.</param>
    /// <param name="length">L, the number of the last positions that are computed now.</param>
    /// <returns>[B, 1, L, T], float32: 0 where a token may look, else minus infinity. Padding looks at itself, so that its row stays finite.</returns>
    public static Tensor CausalMask(Tensor attentionMask, long length)
    {
        using var scope = NewDisposeScope();
        var total = attentionMask.shape[1];
        var causal = ones([length, total], dtype: ScalarType.Bool, device: attentionMask.device).tril(total - length);
        var self = causal.logical_and(ones([length, total], dtype: ScalarType.Bool, device: attentionMask.device).triu(total - length));
        var allowed = causal.logical_and(attentionMask.to(ScalarType.Bool).unsqueeze(1)).logical_or(self);
        return zeros(allowed.shape, dtype: ScalarType.Float32, device: attentionMask.device)
            .masked_fill(allowed.logical_not(), float.NegativeInfinity).unsqueeze(1).MoveToOuterDisposeScope();
    }

    /// <summary>Positions that count from each row's first real token.</summary>
    /// <param name="attentionMask">[B, T], int64: 0 is padding, on the left.</param>
    /// <returns>[B, T], int64; padding gets 0.</returns>
    public static Tensor Positions(Tensor attentionMask)
    {
        using var scope = NewDisposeScope();
        return (attentionMask.to(ScalarType.Int64).cumsum(1) - 1).clamp_min(0).MoveToOuterDisposeScope();
    }
}
