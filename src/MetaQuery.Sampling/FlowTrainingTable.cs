using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Sampling;

/// <summary>
/// The noise levels that flow training draws from: u ~ U(0, 1), entry ⌊u · T⌋. The reference reads a FlowMatchEuler scheduler
/// from the sampler's file, so Sana trains with shift 1 (timesteps T … 1, σ = t / T) and samples with shift 3.
/// </summary>
public sealed class FlowTrainingTable
{
    private readonly float[] timesteps;
    private readonly float[] sigmas;

    private FlowTrainingTable(float[] timesteps, float[] sigmas)
    {
        this.timesteps = timesteps;
        this.sigmas = sigmas;
    }

    /// <summary>[T], falling.</summary>
    public IReadOnlyList<float> Timesteps => timesteps;

    /// <summary>[T], falling.</summary>
    public IReadOnlyList<float> Sigmas => sigmas;

    /// <param name="numTrainTimesteps">T.</param>
    /// <param name="shift">σ → shift σ / (1 + (shift − 1) σ).</param>
    public static FlowTrainingTable Create(int numTrainTimesteps, float shift)
    {
        var table = new float[numTrainTimesteps];
        for (var i = 0; i < numTrainTimesteps; i++)
        {
            var sigma = (float)(numTrainTimesteps - i) / numTrainTimesteps;
            table[i] = shift * sigma / (1 + ((shift - 1) * sigma));
        }

        return new FlowTrainingTable(Array.ConvertAll(table, sigma => sigma * numTrainTimesteps), table);
    }

    /// <summary>The entry of a draw.</summary>
    /// <param name="uniform">u in [0, 1).</param>
    /// <exception cref="ArgumentOutOfRangeException">u lies outside.</exception>
    public int IndexOf(float uniform)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(uniform);
        // The product is rounded to float32 before it is cut, as in the reference: 0.0039999999 · 1000 is entry 4, not 3.
        var index = (int)(float)(uniform * timesteps.Length);
        return index < timesteps.Length
            ? index
            : throw new ArgumentOutOfRangeException(nameof(uniform), uniform, $"expected a number below 1 for a table of {timesteps.Length}");
    }

    /// <summary>The noisy latents and the target of one training batch.</summary>
    /// <param name="latents">x₀, [B, C, height, width], float32, scaled.</param>
    /// <param name="noise">ε, shaped as <paramref name="latents"/>.</param>
    /// <param name="sigma">[B, 1, 1, 1], float32.</param>
    /// <returns>(1 − σ) x₀ + σ ε, and the velocity ε − x₀; the caller owns both.</returns>
    public static (Tensor NoisyLatents, Tensor Target) Noise(Tensor latents, Tensor noise, Tensor sigma)
    {
        using var kept = 1.0 - sigma;
        using var signal = kept * latents;
        using var added = sigma * noise;
        return (signal + added, noise - latents);
    }
}
