using MetaQuery.Kernels;
using MetaQuery.TestKit;
using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Models.Tests.Diffusion;

/// <summary>The packed matrix product against libtorch's, at sizes that leave remainders in every direction.</summary>
[LeakCheck]
public sealed unsafe class PackedWeightsTests
{
    // k roundings of half a unit in the last place of partial sums, which stay below 5 √k for standard normal factors.
    [Theory]
    [InlineData(1, 1, 1)]
    [InlineData(3, 33, 17)]
    [InlineData(13, 96, 320)]
    [InlineData(64, 50, 31)]
    [InlineData(205, 64, 800)]
    public void Float32_agrees_with_libtorch(int rows, int outputs, int inputs)
    {
        using var scope = NewDisposeScope();
        var (x, weight, bias) = (randn(rows, inputs), randn(outputs, inputs), randn(outputs));
        using var packed = new PackedWeights(weight, bias, KernelType.Float32, KernelFeatures.None);
        var result = empty(rows, outputs);
        fixed (byte* input = x.bytes, output = result.bytes)
        {
            packed.Multiply(input, rows, new MatmulTarget { Output = output }, threads: 1);
        }

        var expected = nn.functional.linear(x.to(ScalarType.Float64), weight.to(ScalarType.Float64), bias.to(ScalarType.Float64));
        Assert.True((result - expected).abs().max().item<double>() < 1e-6 + (5 * Math.Pow(inputs, 1.5) * Math.Pow(2, -24)));
    }

    [Theory]
    [InlineData(KernelFeatures.None)]
    [InlineData(KernelFeatures.Avx512BFloat16)]
    [InlineData(KernelFeatures.AmxBFloat16)]
    public void Bfloat16_products_are_exact_sums_of_rounded_factors(KernelFeatures features)
    {
        if ((features & ~RawKernels.Features) != KernelFeatures.None)
        {
            return; // this CPU lacks them
        }

        using var scope = NewDisposeScope();
        var (x, weight) = (randn(37, 64).to(ScalarType.BFloat16), randn(50, 64).to(ScalarType.BFloat16));
        using var packed = new PackedWeights(weight, null, KernelType.BFloat16, features);
        var result = empty(37, 50);
        fixed (byte* input = x.bytes, output = result.bytes)
        {
            packed.Multiply(input, 37, new MatmulTarget { Output = output }, threads: 1);
        }

        var expected = nn.functional.linear(x.to(ScalarType.Float64), weight.to(ScalarType.Float64));
        Assert.True((result - expected).abs().max().item<double>() < 1e-4);
    }

    [Fact]
    public void Activation_gate_and_residual_are_applied_in_this_order()
    {
        using var scope = NewDisposeScope();
        var (x, weight, bias, gate, before) = (randn(20, 24), randn(40, 24), randn(40), randn(2, 40), randn(20, 40));
        using var packed = new PackedWeights(weight, bias, KernelType.Float32, KernelFeatures.None);
        var result = before.clone();
        fixed (byte* input = x.bytes, gates = gate.bytes, output = result.bytes)
        {
            packed.Multiply(input, 20, new MatmulTarget
            {
                Output = output, Activation = KernelActivation.Silu, Gate = (float*)gates, GateStride = 40, TokensPerGate = 10, Residual = true,
            }, threads: 2);
        }

        var expected = before + (gate.repeat_interleave(10, 0) * nn.functional.silu(nn.functional.linear(x, weight, bias)));
        Assert.True((result - expected).abs().max().item<float>() < 1e-4);
    }

    [Fact]
    public void A_row_has_the_same_bits_whatever_the_number_of_rows_and_threads()
    {
        using var scope = NewDisposeScope();
        using var packed = new PackedWeights(randn(70, 45), randn(70), KernelType.Float32, KernelFeatures.None);
        var x = randn(41, 45);
        float[] Product(int first, int rows, int threads)
        {
            var result = new float[rows * 70];
            fixed (byte* input = x.bytes)
            fixed (float* output = result)
            {
                packed.Multiply((float*)input + (first * 45), rows, new MatmulTarget { Output = output }, threads);
            }

            return result;
        }

        var all = Product(0, 41, threads: 2);
        for (var first = 0; first < 41; first += 7)
        {
            for (var rows = 1; rows <= Math.Min(20, 41 - first); rows += 3)
            {
                Assert.Equal(all[(first * 70)..((first + rows) * 70)], Product(first, rows, threads: 1));
            }
        }
    }
}
