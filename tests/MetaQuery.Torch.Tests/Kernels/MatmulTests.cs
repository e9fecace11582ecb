using MetaQuery.Kernels;
using MetaQuery.TestKit;
using TorchSharp;
using static MetaQuery.Torch.Tests.Kernels.KernelCheck;
using static TorchSharp.torch;
using F = TorchSharp.torch.nn.functional;

namespace MetaQuery.Torch.Tests.Kernels;

[LeakCheck]
public sealed unsafe class MatmulTests
{
    public static TheoryData<KernelType, KernelFeatures> Ways()
    {
        var ways = new TheoryData<KernelType, KernelFeatures> { { KernelType.Float32, KernelFeatures.None }, { KernelType.BFloat16, KernelFeatures.None } };
        foreach (var feature in new[] { KernelFeatures.Avx512BFloat16, KernelFeatures.AmxBFloat16 })
            if (RawKernels.Features.HasFlag(feature)) ways.Add(KernelType.BFloat16, feature);
        return ways;
    }

    static ScalarType Of(KernelType type) => type == KernelType.Float32 ? ScalarType.Float32 : ScalarType.BFloat16;

    static Tensor Multiply(PackedWeights weights, Tensor input, MatmulTarget target, int threads = 1)
    {
        var output = zeros([input.shape[0], weights.Outputs], Of(target.Type));
        return Into(weights, input, target, output, threads);
    }

    static Tensor Into(PackedWeights weights, Tensor input, MatmulTarget target, Tensor output, int threads = 1)
    {
        fixed (byte* source = input.bytes)
        fixed (byte* result = output.bytes)
        {
            target.Output = result;
            weights.Multiply(source, input.shape[0], target, threads);
        }
        return output;
    }

    [Theory]
    [MemberData(nameof(Ways))]
    public void A_product_with_bias_and_activation(KernelType type, KernelFeatures features)
    {
        using var scope = NewDisposeScope();
        // Neither rows, inputs nor outputs fill the kernel's tiles; the weights are rounded to the type, as the kernel does.
        Tensor x = Normal(1, Of(type), 13, 53), w = Normal(2, Of(type), 45, 53) / 7, b = Normal(3, 45);
        using var packed = new PackedWeights(w, b, type, features);
        var product = x.Wide().matmul(w.Wide().t()) + b.Wide();
        Close(product, Multiply(packed, x, new MatmulTarget()));
        Close(F.silu(product), Multiply(packed, x, new MatmulTarget { Activation = KernelActivation.Silu }));
        Close(F.relu(product), Multiply(packed, x, new MatmulTarget { Activation = KernelActivation.Relu }));
        Close(F.gelu(product, TorchSharp.Modules.GELU.Approximate.tanh), Multiply(packed, x, new MatmulTarget { Activation = KernelActivation.TanhGelu }));
        Close(product, Multiply(packed, x, new MatmulTarget { Type = KernelType.BFloat16 }));
    }

    [Theory]
    [MemberData(nameof(Ways))]
    public void A_gate_and_a_residual_are_added_in_the_same_pass(KernelType type, KernelFeatures features)
    {
        using var scope = NewDisposeScope();
        Tensor x = Normal(1, Of(type), 12, 40), w = Normal(2, Of(type), 33, 40) / 6, gate = Normal(3, 3, 33), before = Normal(4, 12, 33);
        using var packed = new PackedWeights(w, null, type, features);
        var after = before.clone();
        fixed (byte* gates = gate.bytes)
            Into(packed, x, new MatmulTarget { Gate = (float*)gates, GateStride = 33, TokensPerGate = 4, Residual = true }, after);
        Close(before.Wide() + gate.Wide().repeat_interleave(4, 0) * x.Wide().matmul(w.Wide().t()), after);
    }

    [Theory]
    [MemberData(nameof(Ways))]
    public void A_row_is_the_same_alone_and_in_any_batch(KernelType type, KernelFeatures features)
    {
        using var scope = NewDisposeScope();
        Tensor x = Normal(1, Of(type), 70, 53), w = Normal(2, Of(type), 45, 53);
        using var packed = new PackedWeights(w, null, type, features);
        var together = Multiply(packed, x, new MatmulTarget());
        foreach (var row in new[] { 0, 5, 33, 69 }) SameBits(together[row..(row + 1)].contiguous(), Multiply(packed, x[row..(row + 1)], new MatmulTarget()));
        SameBits(together[7..41].contiguous(), Multiply(packed, x[7..41], new MatmulTarget()));
        SameBits(together, Multiply(packed, x, new MatmulTarget(), threads: 3));
    }

    [Fact]
    public void A_wider_output_is_written_in_place_of_its_own_columns_only()
    {
        using var scope = NewDisposeScope();
        Tensor x = Normal(1, 5, 16), w = Normal(2, 8, 16), wide = ones(5, 20);
        using var packed = new PackedWeights(w, null, KernelType.Float32, KernelFeatures.None);
        fixed (byte* source = x.bytes)
        fixed (byte* result = wide.bytes)
            packed.Multiply(source, 5, new MatmulTarget { Output = (float*)result + 4, Stride = 20 }, 1);
        Close(x.Wide().matmul(w.Wide().t()), wide[.., 4..12].contiguous());
        Assert.Equal(60f, (wide[.., ..4].sum() + wide[.., 12..].sum()).item<float>());
    }

    [Fact]
    public void Rounding_to_bfloat16_is_libtorchs()
    {
        using var scope = NewDisposeScope();
        var x = cat([Normal(1, 1000), tensor(new[] { 1.00390625f, 1.01171875f, 0f, -0f, float.PositiveInfinity, 3.4e38f, 1e-40f })]);
        var result = empty(x.shape, bfloat16);
        fixed (byte* source = x.bytes)
        fixed (byte* target = result.bytes)
            RawKernels.RoundToBFloat16((float*)source, target, x.numel());
        SameBits(x.to(bfloat16), result);
    }
}
