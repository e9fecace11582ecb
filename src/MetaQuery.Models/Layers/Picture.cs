using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Models.Layers;

/// <summary>Pictures whose channels lie last in memory, [B, C, height, width] all the same: convolutions are as fast or faster so, and their positions
/// are tokens without a copy.</summary>
internal static class Picture
{
    /// <returns>The same picture with channels last in memory.</returns>
    public static Tensor ChannelsLast(Tensor x)
    {
        using var scope = NewDisposeScope();
        return x.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2).MoveToOuterDisposeScope();
    }

    /// <summary>[B, C, height, width] to [B, height · width, C]; a view where channels lie last.</summary>
    public static Tensor Tokens(Tensor x)
    {
        using var rows = x.permute(0, 2, 3, 1);
        return rows.reshape(x.shape[0], x.shape[2] * x.shape[3], x.shape[1]);
    }

    /// <summary>[B, height · width, C] back to [B, C, height, width]; a view.</summary>
    public static Tensor FromTokens(Tensor tokens, long height, long width)
    {
        using var rows = tokens.view(tokens.shape[0], height, width, tokens.shape[2]);
        return rows.permute(0, 3, 1, 2);
    }
}
