using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Parity.Tests.Kinds;

/// <summary>Expected tensors hold zeros at padding: only real tokens are compared.</summary>
internal static class TokenSelection
{
    /// <param name="x">[B, L, ...].</param>
    /// <param name="attentionMask">[B, L], 0 is padding.</param>
    /// <returns>[real tokens, ...].</returns>
    public static Tensor RealTokens(this Tensor x, Tensor attentionMask)
    {
        using var scope = NewDisposeScope();
        var indices = attentionMask.reshape(-1).nonzero().squeeze(1);
        return x.flatten(0, 1).index_select(0, indices).MoveToOuterDisposeScope();
    }

    public static long[] ToArray(this Tensor ids)
    {
        using var flat = ids.reshape(-1).contiguous();
        return flat.data<long>().ToArray();
    }
}
