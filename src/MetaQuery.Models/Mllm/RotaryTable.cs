using MetaQuery.Kernels;
using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Models.Mllm;

/// <summary>Cosines and sines of the positions from 0 on, as the attention kernel reads them. Grows with what is asked for.</summary>
internal sealed class RotaryTable(RotaryConfig config, int headSize)
{
    private const long FirstPositions = 512;
    private readonly Lock _growing = new();
    private volatile Angles? _angles;

    /// <summary>[positions, headSize / 2] each, at least the positions asked for.</summary>
    public sealed record Angles(NativeBuffer Cosines, NativeBuffer Sines, long Positions);

    /// <summary>A row per token of a stream.</summary>
    /// <param name="positions">[3, tokens] or [tokens], int64.</param>
    public Angles Of(Tensor positions)
    {
        using var mode = inference_mode();
        using var scope = NewDisposeScope();
        using var rotary = new RotaryEmbedding(config, headSize);
        var angles = rotary.Angles(positions.unsqueeze(-2));
        return new Angles(PackedWeights.Floats(angles.cos()), PackedWeights.Floats(angles.sin()), positions.shape[^1]);
    }

    public Angles Covering(long positions)
    {
        if (_angles is { } ready && ready.Positions >= positions)
            return ready;
        lock (_growing)
        {
            if (_angles is { } grown && grown.Positions >= positions)
                return grown;
            // A smaller table may be in use by another thread: the collector frees it.
            return _angles = Compute(Math.Max(positions, Math.Max(FirstPositions, 2 * (_angles?.Positions ?? 0))));
        }
    }

    private Angles Compute(long positions)
    {
        using var mode = inference_mode();
        using var scope = NewDisposeScope();
        var angles = arange(positions, dtype: ScalarType.Float32).unsqueeze(1) * tensor(config.InverseFrequencies(headSize));
        return new Angles(PackedWeights.Floats(angles.cos()), PackedWeights.Floats(angles.sin()), positions);
    }
}
