using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Models.Mllm;

/// <summary>Rotary positions: element i of a head is paired with element i + D/2 (Hugging Face's order, not the paper's neighbours).</summary>
public sealed class RotaryEmbedding : IDisposable
{
    private readonly Tensor _inverseFrequencies;

    public RotaryEmbedding(RotaryConfig config, int headSize, Device? device = null)
    {
        ArgumentNullException.ThrowIfNull(config);
        _inverseFrequencies = tensor(config.InverseFrequencies(headSize), device: device);
        _inverseFrequencies.DetachFromDisposeScope();
    }

    /// <summary>Cosines and sines of given positions.</summary>
    /// <param name="positions">[B, L] or [1, L], int64.</param>
    /// <returns>Both [B, L, 1, D], float32; the first half of the sines is negated, which is what <see cref="Apply"/> needs.</returns>
    public (Tensor Cos, Tensor Sin) At(Tensor positions)
    {
        using var scope = NewDisposeScope();
        var angles = positions.to(ScalarType.Float32).unsqueeze(-1) * _inverseFrequencies;
        var (cosine, sine) = (angles.cos(), angles.sin());
        return (cat([cosine, cosine], -1).unsqueeze(2).MoveToOuterDisposeScope(), cat([sine.neg(), sine], -1).unsqueeze(2).MoveToOuterDisposeScope());
    }

    /// <param name="x">[B, L, H, D].</param>
    /// <returns>The same shape: x * cos + (halves swapped) * sin.</returns>
    public static Tensor Apply(Tensor x, (Tensor Cos, Tensor Sin) rotary)
    {
        using var scope = NewDisposeScope();
        var half = x.shape[^1] / 2;
        var swapped = cat([x.narrow(-1, half, half), x.narrow(-1, 0, half)], -1);
        return ((x * rotary.Cos) + (swapped * rotary.Sin)).MoveToOuterDisposeScope();
    }

    public void Dispose() => _inverseFrequencies.Dispose();
}
