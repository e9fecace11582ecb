using MetaQuery.Kernels;
using MetaQuery.TestKit;
using TorchSharp;
using static MetaQuery.Torch.Tests.Kernels.KernelCheck;
using static TorchSharp.torch;
using F = TorchSharp.torch.nn.functional;

namespace MetaQuery.Torch.Tests.Kernels;

/// <summary>Sizes are no multiples of the sixteen lanes, so that the last, partial vectors are tested too.</summary>
[LeakCheck]
public sealed class FusedKernelTests
{
    public static TheoryData<ScalarType> Types => KernelCheck.Types;

    [Theory]
    [MemberData(nameof(Types))]
    public void Layer_norm_with_modulation(ScalarType type)
    {
        using var scope = NewDisposeScope();
        Tensor x = Normal(1, 3, 5, 72) + 2, modulation = Normal(2, 3, 6 * 72);
        Tensor shift = modulation[.., 72..144], scale = modulation[.., 144..216];
        Tensor Run(Tensor rows) => FusedKernels.LayerNormModulate(x.index_select(0, rows), shift.index_select(0, rows), scale.index_select(0, rows), 1e-6f, type);
        var expected = F.layer_norm(x.Wide(), [72], eps: 1e-6) * (1 + scale.Wide().unsqueeze(1)) + shift.Wide().unsqueeze(1);
        Close(expected, FusedKernels.LayerNormModulate(x, shift, scale, 1e-6f, type));
        RowsAreAlone(3, Run);
    }

    [Fact]
    public unsafe void Layer_norm_with_weight_and_bias()
    {
        using var scope = NewDisposeScope();
        Tensor x = Normal(1, 7, 43) + 2, weight = Normal(2, 43), bias = Normal(3, 43), result = empty(7, 43);
        fixed (byte* source = x.bytes, w = weight.bytes, b = bias.bytes, target = result.bytes)
            RawKernels.LayerNorm((float*)source, (float*)w, (float*)b, target, KernelType.Float32, 7, 43, 1e-6f, 2);
        Close(F.layer_norm(x.Wide(), [43], weight.Wide(), bias.Wide(), 1e-6), result);
    }

    [Fact]
    public void Layer_norm_keeps_its_precision_far_from_zero()
    {
        using var scope = NewDisposeScope();
        var x = Normal(1, 1, 2, 40) + 1000; // a variance computed as E[x^2] - E[x]^2 in float32 would be off by 0.06
        Tensor zero = zeros(1, 40);
        Close(F.layer_norm(x.Wide(), [40], eps: 1e-6), FusedKernels.LayerNormModulate(x, zero, zero, 1e-6f, float32), absolute: 3e-4); // half a unit of 1000
    }

    [Theory]
    [MemberData(nameof(Types))]
    public void Gated_residual(ScalarType type)
    {
        using var scope = NewDisposeScope();
        Tensor x = Normal(1, 3, 5, 40), update = Normal(2, type, 3, 5, 40), bias = Normal(3, 40), gate = Normal(4, 3, 80)[.., 40..];
        Tensor Run(Tensor rows)
        {
            var changed = x.index_select(0, rows);
            FusedKernels.GatedResidual(changed, update.index_select(0, rows), bias, gate.index_select(0, rows));
            return changed;
        }
        Close(x.Wide() + gate.Wide().unsqueeze(1) * (update.Wide() + bias.Wide()), Run(arange(3)));
        RowsAreAlone(3, Run);
        var plain = x.clone();
        FusedKernels.GatedResidual(plain, update);
        Close(x.Wide() + update.Wide(), plain);
    }

    [Theory]
    [MemberData(nameof(Types))]
    public void Gated_depthwise_convolution(ScalarType type)
    {
        using var scope = NewDisposeScope();
        const long Height = 3, Width = 4, Channels = 152; // more than one chunk of 128, and a partial vector
        Tensor x = Normal(1, type, 2, Height * Width, 2 * Channels), inputBias = Normal(2, 2 * Channels);
        Tensor weight = Normal(3, 2 * Channels, 1, 3, 3) / 3, bias = Normal(4, 2 * Channels);
        var taps = weight.view(2 * Channels, 9).t().contiguous();
        Tensor Run(Tensor rows) => FusedKernels.GluDepthwise(x.index_select(0, rows), inputBias, taps, bias, Height, Width);
        var image = F.silu(x.Wide() + inputBias.Wide()).transpose(1, 2).reshape(2, 2 * Channels, Height, Width);
        var convolved = F.conv2d(image, weight.Wide(), bias.Wide(), padding: [1, 1], groups: 2 * Channels);
        var halves = convolved.chunk(2, 1);
        Close((halves[0] * F.silu(halves[1])).flatten(2).transpose(1, 2), Run(arange(2)));
        RowsAreAlone(2, Run);
    }

    [Theory]
    [MemberData(nameof(Types))]
    public void Linear_attention(ScalarType type)
    {
        using var scope = NewDisposeScope();
        const long Heads = 3, Size = 20, Tokens = 9;
        var qkv = Normal(1, type, 2, Tokens, 3 * Heads * Size);
        Tensor Run(Tensor rows) => FusedKernels.ReluLinearAttention(qkv.index_select(0, rows), Heads, 1e-15f);
        var parts = qkv.Wide().view(2, Tokens, 3, Heads, Size).permute(2, 0, 3, 1, 4); // [3, B, H, L, D]
        Tensor q = parts[0].relu(), k = parts[1].relu(), v = parts[2];
        var expected = q.matmul(k.transpose(-1, -2).matmul(v)) / (q * k.sum(-2L, keepdim: true)).sum(-1L, keepdim: true).add(1e-15);
        Close(expected.transpose(1, 2).reshape(2, Tokens, Heads * Size), Run(arange(2)));
        RowsAreAlone(2, Run);
    }

    [Theory]
    [MemberData(nameof(Types))]
    public void Cross_attention(ScalarType type)
    {
        using var scope = NewDisposeScope();
        const long Heads = 2, Size = 24, Length = 19, Tokens = 5;
        Tensor query = Normal(1, type, 3, Tokens, Heads * Size), bias = Normal(2, Heads * Size);
        Tensor keys = Normal(3, 2, Heads, Size, Length), values = Normal(4, 2, Heads, Length, Size);
        var context = tensor(new[] { 1L, 0, 1 });
        var mask = zeros(2, Length);
        mask[1, 12..] = tensor(-1e9f);
        var scale = (float)(1 / Math.Sqrt(Size));
        Tensor Run(Tensor rows) => FusedKernels.CrossAttention(query.index_select(0, rows), bias, keys, values, context.index_select(0, rows), mask, scale);
        var q = (query.Wide() + bias.Wide()).view(3, Tokens, Heads, Size).transpose(1, 2);
        var scores = q.matmul(keys.Wide().index_select(0, context)) * scale + mask.Wide().index_select(0, context).view(3, 1, 1, Length);
        var expected = scores.softmax(-1).matmul(values.Wide().index_select(0, context)).transpose(1, 2).reshape(3, Tokens, Heads * Size);
        Close(expected, Run(arange(3)));
        RowsAreAlone(3, Run);
    }

    [Theory]
    [MemberData(nameof(Types))]
    public void Rms_norm_with_bias_and_activation(ScalarType type)
    {
        using var scope = NewDisposeScope();
        Tensor x = Normal(1, type, 4, 3, 72), weight = Normal(2, 72), bias = Normal(3, 72);
        Tensor Run(Tensor rows) => FusedKernels.RmsNorm(x.index_select(0, rows), weight, 1e-5f, type, bias, KernelActivation.Relu);
        var wide = x.Wide();
        var normal = wide / (wide.square().mean([-1], keepdim: true) + 1e-5).sqrt();
        Close((normal * weight.Wide() + bias.Wide()).relu(), Run(arange(4)));
        Close(normal, FusedKernels.RmsNorm(x, null, 1e-5f, float32));
        RowsAreAlone(4, Run);
    }

    [Theory]
    [MemberData(nameof(Types))]
    public void Gated_activation_and_bias_with_activation(ScalarType type)
    {
        using var scope = NewDisposeScope();
        Tensor x = Normal(1, type, 4, 3, 104) * 3, bias = Normal(2, 104);
        var halves = x.Wide().chunk(2, -1);
        Close(F.silu(halves[0]) * halves[1], FusedKernels.SwiGlu(x), absolute: 5e-5); // products of sizes up to 10
        RowsAreAlone(4, rows => FusedKernels.SwiGlu(x.index_select(0, rows)));
        var changed = x.clone();
        FusedKernels.BiasActivation(changed, bias, KernelActivation.Silu);
        Close(F.silu(x.Wide() + bias.Wide()), changed);
    }

    [Fact]
    public void Silu_holds_over_the_whole_range_of_float32()
    {
        using var scope = NewDisposeScope();
        var x = tensor(new[] { -1e30f, -200, -104, -88, -87.5f, -20, -1e-3f, -0f, 1e-30f, 5, 88, 89, 200, 1e30f });
        var changed = x.clone();
        FusedKernels.BiasActivation(changed, null, KernelActivation.Silu);
        Values.Close(x.sigmoid().mul_(x)[..12], changed[..12], 1e-5f);
        Assert.Equal([200f, 1e30f], Values.Of(changed[12..]));
        Assert.All(Values.Of(changed), value => Assert.True(float.IsFinite(value)));
    }

    [Fact]
    public void Shapes_and_types_that_do_not_fit_are_refused()
    {
        using var scope = NewDisposeScope();
        Tensor x = zeros(2, 6, 8), rows = zeros(2, 8);
        Assert.Throws<ArgumentException>(() => FusedKernels.LayerNormModulate(x[0], rows, rows, 1e-6f, float32));
        Assert.Throws<ArgumentException>(() => FusedKernels.LayerNormModulate(x, zeros(3, 8), rows, 1e-6f, float32));
        Assert.Throws<ArgumentException>(() => FusedKernels.LayerNormModulate(x, rows, rows, 1e-6f, float64));
        Assert.Throws<ArgumentException>(() => FusedKernels.GluDepthwise(x, null, zeros(9, 8), null, 2, 2));
        Assert.Throws<ArgumentException>(() => FusedKernels.ReluLinearAttention(x, 3, 1e-15f));
        Assert.Throws<ArgumentException>(() => FusedKernels.RmsNorm(x, zeros(7), 1e-6f, float32));
        Assert.ThrowsAny<Exception>(() => FusedKernels.RmsNorm(x.transpose(1, 2), null, 1e-6f, float32));
    }
}
