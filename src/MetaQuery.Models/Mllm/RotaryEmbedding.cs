using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Models.Mllm;

/// <summary>Rotary positions: element i of a head is paired with element i + D/2 (Hugging Face's order, not the paper's neighbours).</summary>
public sealed class RotaryEmbedding : IDisposable
{
    private readonly Tensor _inverseFrequencies;
    private readonly Tensor? _axes; // [D / 2], int64

    public RotaryEmbedding(RotaryConfig config, int headSize, Device? device = null)
    {
        ArgumentNullException.ThrowIfNull(config);
        _inverseFrequencies = tensor(config.InverseFrequencies(headSize), device: device);
        _inverseFrequencies.DetachFromDisposeScope();
        _axes = config.Sections is null ? null : tensor(config.Axes(), device: device).DetachFromDisposeScope();
    }

    /// <summary>Cosines and sines of given positions.</summary>
    /// <param name="positions">[B, L] or [1, L], int64; or [3, B, L], an axis after the other, for frequencies in sections.</param>
    /// <returns>Both [B, L, 1, D], float32; the first half of the sines is negated, which is what <see cref="Apply"/> needs.</returns>
    public (Tensor Cos, Tensor Sin) At(Tensor positions)
    {
        using var scope = NewDisposeScope();
        var angles = Angles(positions);
        var (cosine, sine) = FromAngles(angles.cos(), angles.sin());
        return (cosine.MoveToOuterDisposeScope(), sine.MoveToOuterDisposeScope());
    }

    /// <param name="positions">As <see cref="At"/>.</param>
    /// <returns>[B, L, D / 2], float32.</returns>
    /// <exception cref="ArgumentException">Three axes, and the configuration has no sections.</exception>
    public Tensor Angles(Tensor positions)
    {
        ArgumentNullException.ThrowIfNull(positions);
        using var scope = NewDisposeScope();
        var wide = positions.to(ScalarType.Float32);
        if (positions.dim() != 3)
            return (wide.unsqueeze(-1) * _inverseFrequencies).MoveToOuterDisposeScope();
        if (_axes is null)
            throw new ArgumentException("positions on three axes, and the checkpoint's rope_scaling has no mrope_section", nameof(positions));
        return (wide.permute(1, 2, 0).index_select(-1, _axes) * _inverseFrequencies).MoveToOuterDisposeScope();
    }

    /// <param name="cosine">[B, L, D / 2].</param>
    /// <param name="sine">[B, L, D / 2].</param>
    /// <returns>As <see cref="At"/>.</returns>
    internal static (Tensor Cos, Tensor Sin) FromAngles(Tensor cosine, Tensor sine)
    {
        using var scope = NewDisposeScope();
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

    public void Dispose()
    {
        _inverseFrequencies.Dispose();
        _axes?.Dispose();
    }
}
