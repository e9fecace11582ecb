using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Sampling;

/// <summary>
/// Standard normal noise as a function of (seed, sample, element): never of a batch, a thread or an order of calls.
/// <para>
/// Layout, frozen by tests because stored images depend on it: <see cref="Philox4x32"/> with key = seed and counter =
/// (block low, block high, sample, domain), where block = element / 4 and domain = 0x6D71_0001 ("mq", layout 1).
/// Words 0 and 1 give elements 0 and 1 of the block, words 2 and 3 the other two, by Box and Muller:
/// radius = √(−2 ln((w₀ + 1) / 2³²)), angle = 2π w₁ / 2³², (radius · cos, radius · sin), in double, rounded to float32 once.
/// Every operation is an IEEE 754 one in a stated order (<see cref="ExactMath"/>), so the bits are those of every machine.
/// The largest magnitude is √(2 · 32 ln 2) = 6.66.
/// </para>
/// </summary>
public static class CounterNoise
{
    private const uint Domain = 0x6D71_0001;

    /// <summary>Fills a span with the first elements of (seed, sample)'s sequence.</summary>
    public static void Fill(ulong seed, uint sample, Span<float> destination)
    {
        for (var start = 0; start < destination.Length; start += 4)
        {
            var block = (ulong)start / 4;
            var words = Philox4x32.Block((uint)block, (uint)(block >> 32), sample, Domain, seed);
            var (normal0, normal1) = BoxMuller(words.Word0, words.Word1);
            var (normal2, normal3) = BoxMuller(words.Word2, words.Word3);
            ReadOnlySpan<float> four = [normal0, normal1, normal2, normal3];
            var count = Math.Min(4, destination.Length - start);
            four[..count].CopyTo(destination[start..]);
        }
    }

    /// <summary>The noise of one batch: row i is what seed i alone would give.</summary>
    /// <param name="seeds">One seed per row, each the image's own.</param>
    /// <param name="channels">Latent channels.</param>
    /// <param name="height">Latent height.</param>
    /// <param name="width">Latent width.</param>
    /// <param name="sample">0 for the noise that a trajectory begins with, n for what its n-th step adds.</param>
    /// <returns>[B, channels, height, width], float32, on the CPU; the caller owns it.</returns>
    public static Tensor Latents(ReadOnlySpan<ulong> seeds, int channels, int height, int width, uint sample = 0)
    {
        var elements = checked(channels * height * width);
        var values = new float[checked(elements * seeds.Length)];
        for (var row = 0; row < seeds.Length; row++)
        {
            Fill(seeds[row], sample, values.AsSpan(row * elements, elements));
        }

        return tensor(values, [seeds.Length, channels, height, width]);
    }

    private static (float Cosine, float Sine) BoxMuller(uint radiusWord, uint angleWord)
    {
        var radius = Math.Sqrt(-2 * ExactMath.LogOfFraction((ulong)radiusWord + 1));
        var (cos, sin) = ExactMath.CosSinOfTurn(angleWord);
        return ((float)(radius * cos), (float)(radius * sin));
    }
}
