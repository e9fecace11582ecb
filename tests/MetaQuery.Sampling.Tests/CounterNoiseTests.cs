using MetaQuery.Sampling;
using MetaQuery.TestKit;

namespace MetaQuery.Sampling.Tests;

[LeakCheck]
public sealed class CounterNoiseTests
{
    // Random123's known-answer file, philox4x32-10.
    [Theory]
    [InlineData(0x00000000u, 0x00000000u, 0x00000000u, 0x00000000u, 0x0000000000000000ul, 0x6627e8d5u, 0xe169c58du, 0xbc57ac4cu, 0x9b00dbd8u)]
    [InlineData(0xffffffffu, 0xffffffffu, 0xffffffffu, 0xffffffffu, 0xfffffffffffffffful, 0x408f276du, 0x41c83b0eu, 0xa20bc7c6u, 0x6d5451fdu)]
    [InlineData(0x243f6a88u, 0x85a308d3u, 0x13198a2eu, 0x03707344u, 0x299f31d0a4093822ul, 0xd16cfe09u, 0x94fdccebu, 0x5001e420u, 0x24126ea1u)]
    public void Philox_gives_the_published_words(uint c0, uint c1, uint c2, uint c3, ulong key, uint w0, uint w1, uint w2, uint w3) =>
        Assert.Equal((w0, w1, w2, w3), Philox4x32.Block(c0, c1, c2, c3, key));

    // Made by a second implementation, in NumPy. Stored images depend on these bits: a change needs a new layout number, not a new golden.
    [Fact]
    public void The_noise_of_layout_1_is_frozen()
    {
        var noise = new float[6];
        CounterNoise.Fill(seed: 42, sample: 0, noise);
        Assert.Equal(FrozenSeed42, noise.Select(BitConverter.SingleToUInt32Bits));
        CounterNoise.Fill(seed: 0xfedc_ba98_7654_3210, sample: 7, noise);
        Assert.Equal(FrozenLargeSeed, noise.Select(BitConverter.SingleToUInt32Bits));
    }

    [Fact]
    public void Half_a_million_frozen_values_have_a_frozen_digest()
    {
        var noise = new float[1 << 19];
        CounterNoise.Fill(seed: 1, sample: 0, noise);
        var bytes = System.Runtime.InteropServices.MemoryMarshal.AsBytes<float>(noise);
        Assert.Equal(FrozenDigest, Convert.ToHexStringLower(System.Security.Cryptography.SHA256.HashData(bytes)));
    }

    private static readonly uint[] FrozenSeed42 = [0xbf90f139, 0xbf843789, 0xbea8f299, 0x3f58af00, 0xbe988404, 0xbfc4443f];
    private static readonly uint[] FrozenLargeSeed = [0xbec43184, 0x3ddb0518, 0xbf1d8f05, 0x3f49eaee, 0x401d9d7e, 0x3fc85e22];
    private const string FrozenDigest = "d3b98584d1acd23c5a8c040329ba2ce2589f222a129989598b85c1f699368ad4";

    [Fact]
    public void A_row_is_the_same_alone_and_anywhere_in_a_batch()
    {
        using var alone = CounterNoise.Latents([7], 3, 4, 5);
        using var batch = CounterNoise.Latents([1, 7, 7, 2], 3, 4, 5);
        foreach (var row in new[] { 1, 2 })
        {
            using var one = batch[row];
            Assert.Equal(alone.bytes.ToArray(), one.bytes.ToArray());
        }
    }

    [Fact]
    public void A_shorter_request_is_a_prefix_of_a_longer_one()
    {
        var (longer, shorter) = (new float[101], new float[38]);
        CounterNoise.Fill(5, 3, longer);
        CounterNoise.Fill(5, 3, shorter);
        Assert.Equal(longer[..38], shorter);
    }

    // The formulas with the C library's functions agree to rounding; a slip in an octant or a series would be far off.
    [Fact]
    public void The_exact_functions_agree_with_the_library_in_every_octant()
    {
        for (ulong i = 0; i < 4096; i++)
        {
            var word = (uint)((i << 20) ^ (i * 0x9E3779B9u >> 12));
            var (cos, sin) = ExactMath.CosSinOfTurn(word);
            var angle = 2 * Math.PI * word / 4294967296.0;
            Assert.Equal(Math.Cos(angle), cos, 1e-15);
            Assert.Equal(Math.Sin(angle), sin, 1e-15);
            Assert.Equal(Math.Log((word + 1.0) / 4294967296.0), ExactMath.LogOfFraction(word + 1ul), 1e-14);
        }
    }

    // 2^20 draws: the standard error of mean, variance and fourth moment is 0.001, 0.0014 and 0.0096; five of each are allowed.
    [Fact]
    public void The_moments_are_those_of_a_standard_normal()
    {
        var noise = new float[1 << 20];
        CounterNoise.Fill(seed: 123, sample: 0, noise);
        Assert.Equal(0, noise.Average(x => (double)x), 0.005);
        Assert.Equal(1, noise.Average(x => (double)x * x), 0.007);
        Assert.Equal(3, noise.Average(x => Math.Pow(x, 4)), 0.048);
        Assert.True(noise.Max(Math.Abs) is > 4 and < 6.67f);
    }

    [Fact]
    public void Seeds_samples_and_neighbours_are_uncorrelated()
    {
        var (first, second, third) = (new float[1 << 16], new float[1 << 16], new float[1 << 16]);
        CounterNoise.Fill(1, 0, first);
        CounterNoise.Fill(2, 0, second);
        CounterNoise.Fill(1, 1, third);
        // The standard error is 2^-8.
        Assert.Equal(0, first.Zip(second, (a, b) => (double)a * b).Average(), 0.02);
        Assert.Equal(0, first.Zip(third, (a, b) => (double)a * b).Average(), 0.02);
        Assert.Equal(0, first.Zip(first.Skip(1), (a, b) => (double)a * b).Average(), 0.02);
    }
}
