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

    /// <summary>Past the size from which bfloat16 is kept, with remainders of rows, outputs and inputs, and enough rows for every way of reading the weights.</summary>
    [Theory]
    [InlineData(1)]
    [InlineData(23)]
    [InlineData(24)]
    [InlineData(247)]
    [InlineData(491)]
    public void Weights_that_come_in_bfloat16_give_float32s_bits_in_half_the_memory(int rows)
    {
        const int Outputs = 1043, Inputs = 517;
        using var scope = NewDisposeScope();
        var (x, stored, bias) = (randn(rows, Inputs), randn(Outputs, Inputs).to(ScalarType.BFloat16), randn(Outputs));
        using var halves = new PackedWeights(stored, bias, KernelType.Float32, KernelFeatures.None);
        using var whole = new PackedWeights(stored.to(ScalarType.Float32), bias, KernelType.Float32, KernelFeatures.None);
        Assert.Equal(whole.Bytes, 2 * halves.Bytes);
        float[] Product(PackedWeights weights, int threads)
        {
            var result = new float[rows * Outputs];
            fixed (byte* input = x.bytes)
            fixed (float* output = result)
            {
                weights.Multiply(input, rows, new MatmulTarget { Output = output }, threads);
            }

            return result;
        }

        var expected = Product(whole, threads: 1);
        Assert.Equal(expected, Product(halves, threads: 1));
        Assert.Equal(expected, Product(halves, threads: 2));
    }

    [Fact]
    public void A_convolution_of_bfloat16_weights_gives_float32s_bits()
    {
        const int Channels = 200, Outputs = 300, Height = 5, Width = 29;
        using var scope = NewDisposeScope();
        var stored = randn(Outputs, Channels, 3, 3).to(ScalarType.BFloat16);
        using var halves = new PackedConvolution(stored, null, KernelType.Float32, KernelFeatures.None);
        using var whole = new PackedConvolution(stored.to(ScalarType.Float32), null, KernelType.Float32, KernelFeatures.None);
        var padded = nn.functional.pad(randn(Height, Width, Channels), [0, 0, 1, 1, 1, 1]).contiguous();
        float[] Result(PackedConvolution convolution)
        {
            var result = new float[Height * Width * Outputs];
            fixed (byte* input = padded.bytes)
            fixed (float* output = result)
            {
                convolution.Run(
                    new ConvolutionTarget { Padded = input, Height = Height, Width = Width, Output = output, RowStride = Width * Outputs, PixelStride = Outputs }, threads: 2);
            }

            return result;
        }

        Assert.Equal(Result(whole), Result(halves));
        var expected = nn.functional.conv2d(
            padded.permute(2, 0, 1).unsqueeze(0).to(ScalarType.Float64), stored.to(ScalarType.Float64)).squeeze(0).permute(1, 2, 0).reshape(-1);
        // 1,800 roundings of partial sums that stay below 5 √1800
        Assert.True((tensor(Result(whole)) - expected).abs().max().item<double>() < 1e-6 + (5 * Math.Pow(9 * Channels, 1.5) * Math.Pow(2, -24)));
    }

    /// <summary>What a processor without instructions for them does: an odd number of inputs, and rows that are one, few, and more than a block.</summary>
    [Theory]
    [InlineData(1)]
    [InlineData(23)]
    [InlineData(247)]
    public void Bfloat16_products_are_sums_in_float32_whose_bits_depend_on_their_row_alone(int rows)
    {
        const int Outputs = 143, Inputs = 517;
        using var scope = NewDisposeScope();
        var (x, weight, bias) = (randn(rows, Inputs).to(ScalarType.BFloat16), randn(Outputs, Inputs).to(ScalarType.BFloat16), randn(Outputs));
        using var packed = new PackedWeights(weight, bias, KernelType.BFloat16, KernelFeatures.None);
        float[] Product(int first, int count, int threads)
        {
            var result = new float[count * Outputs];
            fixed (byte* input = x.bytes)
            fixed (float* output = result)
            {
                packed.Multiply((ushort*)input + (first * Inputs), count, new MatmulTarget { Output = output }, threads);
            }

            return result;
        }

        var all = Product(0, rows, threads: 1);
        Assert.Equal(all, Product(0, rows, threads: 2));
        foreach (var row in new[] { 0, rows / 2, rows - 1 })
            Assert.Equal(all[(row * Outputs)..((row + 1) * Outputs)], Product(row, 1, threads: 1));
        var expected = nn.functional.linear(x.to(ScalarType.Float64), weight.to(ScalarType.Float64), bias.to(ScalarType.Float64)).reshape(-1);
        Assert.True((tensor(all) - expected).abs().max().item<double>() < 1e-6 + (5 * Math.Pow(Inputs, 1.5) * Math.Pow(2, -24)));
    }

    [Fact]
    public void A_bfloat16_convolution_is_a_sum_in_float32_whose_bits_depend_on_its_row_alone()
    {
        const int Channels = 75, Outputs = 143, Height = 5, Width = 29; // 225 inputs of a row of taps
        using var scope = NewDisposeScope();
        var weight = randn(Outputs, Channels, 3, 3).to(ScalarType.BFloat16);
        using var packed = new PackedConvolution(weight, null, KernelType.BFloat16, KernelFeatures.None);
        var padded = nn.functional.pad(randn(Height, Width, Channels), [0, 0, 1, 1, 1, 1]).to(ScalarType.BFloat16).contiguous();
        float[] Result(int first, int height, int threads)
        {
            var result = new float[height * Width * Outputs];
            fixed (byte* input = padded.bytes)
            fixed (float* output = result)
            {
                var from = (ushort*)input + (first * (Width + 2) * Channels);
                packed.Run(
                    new ConvolutionTarget { Padded = from, Height = height, Width = Width, Output = output, RowStride = Width * Outputs, PixelStride = Outputs }, threads);
            }

            return result;
        }

        var all = Result(0, Height, threads: 1);
        Assert.Equal(all, Result(0, Height, threads: 2));
        Assert.Equal(all[(2 * Width * Outputs)..(3 * Width * Outputs)], Result(2, 1, threads: 1));
        var expected = nn.functional.conv2d(
            padded.permute(2, 0, 1).unsqueeze(0).to(ScalarType.Float64), weight.to(ScalarType.Float64)).squeeze(0).permute(1, 2, 0).reshape(-1);
        Assert.True((tensor(all) - expected).abs().max().item<double>() < 1e-6 + (5 * Math.Pow(9 * Channels, 1.5) * Math.Pow(2, -24)));
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
