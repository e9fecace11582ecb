using MetaQuery.TestKit;
using TorchSharp;
using static TorchSharp.torch;
using F = TorchSharp.torch.nn.functional;

namespace MetaQuery.Torch.Tests;

/// <summary>Functions against their definitions, written out in plain loops. Tolerances: float32, sums of at most 32 terms near 1.</summary>
[LeakCheck]
public sealed class FunctionalTests
{
    const float Tolerance = 1e-5f;

    static Tensor Normal(long seed, params long[] shape)
    {
        using var generator = new Generator((ulong)seed);
        return randn(shape, generator: generator);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    public void Conv2d_is_a_sum_over_windows(int groups)
    {
        using var scope = NewDisposeScope();
        Tensor x = Normal(1, 2, 4, 5, 6), w = Normal(2, 6, 4 / groups, 3, 3), b = Normal(3, 6);
        var y = F.conv2d(x, w, b, strides: [2, 1], padding: [1, 0], groups: groups);
        Assert.Equal([2L, 6, 3, 4], y.shape);
        var (xs, ws, bs, ys) = (x.data<float>(), w.data<float>(), b.data<float>(), y.data<float>());
        for (var n = 0; n < 2; n++)
            for (var o = 0; o < 6; o++)
                for (var i = 0; i < 3; i++)
                    for (var j = 0; j < 4; j++)
                    {
                        var sum = bs[o];
                        for (var c = 0; c < 4 / groups; c++)
                            for (var u = 0; u < 3; u++)
                                for (var v = 0; v < 3; v++)
                                    if (i * 2 + u - 1 is >= 0 and < 5 and var row)
                                        sum += ws[o, c, u, v] * xs[n, o / (6 / groups) * (4 / groups) + c, row, j + v];
                        Assert.Equal(sum, ys[n, o, i, j], Tolerance);
                    }
    }

    [Fact]
    public void Linear_layer_norm_and_group_norm_follow_their_formulas()
    {
        using var scope = NewDisposeScope();
        Tensor x = Normal(1, 3, 8), w = Normal(2, 5, 8), b = Normal(3, 5);
        Values.Close((x.unsqueeze(1) * w).sum(-1) + b, F.linear(x, w, b), Tolerance);
        var mean = x.mean([-1], keepdim: true);
        var variance = (x - mean).square().mean([-1], keepdim: true);
        var normal = (x - mean) / (variance + 1e-6).sqrt();
        Values.Close(normal, F.layer_norm(x, [8], eps: 1e-6), Tolerance);
        Values.Close(normal.view(3, 8), F.group_norm(x.view(3, 8, 1), 1, eps: 1e-6).view(3, 8), Tolerance);
    }

    [Fact]
    public void Activations_follow_their_formulas()
    {
        using var scope = NewDisposeScope();
        var x = linspace(-6, 6, 49);
        Values.Close(x * x.sigmoid(), F.silu(x), Tolerance);
        Values.Close(x * 0.5 * (1 + (x / Math.Sqrt(2)).erf()), F.gelu(x), Tolerance);
        Values.Close(x * 0.5 * (1 + (Math.Sqrt(2 / Math.PI) * (x + 0.044715 * x.pow(3))).tanh()), F.gelu(x, TorchSharp.Modules.GELU.Approximate.tanh), Tolerance);
        Values.Close(x.clamp(0.0), F.relu(x), 0);
        Values.Close(x.exp().log1p(), F.softplus(x), Tolerance);
        var pair = x[..48].view(2, 24);
        Values.Close(pair[.., ..12] * pair[.., 12..].sigmoid(), F.glu(pair), Tolerance);
    }

    [Theory]
    [InlineData("none")]
    [InlineData("causal")]
    [InlineData("bool")]
    [InlineData("additive")]
    public void Attention_is_softmax_of_scaled_scores(string mask)
    {
        using var scope = NewDisposeScope();
        Tensor q = Normal(1, 2, 3, 4, 8), k = Normal(2, 2, 3, 4, 8), v = Normal(3, 2, 3, 4, 8);
        var allowed = ones([4, 4], ScalarType.Bool).tril();
        var bias = zeros(4, 4).masked_fill(allowed.logical_not(), double.NegativeInfinity);
        var scores = q.matmul(k.transpose(-2, -1)) / Math.Sqrt(8);
        var expected = (mask == "none" ? scores : scores + bias).softmax(-1).matmul(v);
        var actual = mask switch
        {
            "none" => F.scaled_dot_product_attention(q, k, v),
            "causal" => F.scaled_dot_product_attention(q, k, v, is_casual: true),
            "bool" => F.scaled_dot_product_attention(q, k, v, attn_mask: allowed),
            _ => F.scaled_dot_product_attention(q, k, v, attn_mask: bias),
        };
        Values.Close(expected, actual, Tolerance);
    }

    [Fact]
    public void Pixel_shuffle_interpolate_and_pad_move_pixels_as_defined()
    {
        using var scope = NewDisposeScope();
        var x = arange(8).to(float32).view(1, 4, 1, 2);
        Assert.Equal([0f, 2, 1, 3, 4, 6, 5, 7], Values.Of(F.pixel_shuffle(x, 2)));
        Values.Close(x, F.pixel_unshuffle(F.pixel_shuffle(x, 2), 2), 0);
        Assert.Equal([0f, 0, 1, 1, 0, 0, 1, 1], Values.Of(F.interpolate(x[.., ..1], scale_factor: [2, 2])));
        Assert.Equal([0f, 0.25f, 0.75f, 1f], Values.Of(F.interpolate(x[.., ..1], size: [1, 4], mode: InterpolationMode.Bilinear)));
        Assert.Equal([0f, 0, 1, 0, 0], Values.Of(F.pad(x[.., ..1], [1, 2])));
        Assert.Equal([1f, 0, 1, 0], Values.Of(F.pad(x[0, ..1], [1, 1], PaddingModes.Reflect)));
        Assert.Throws<ArgumentException>(() => F.interpolate(x));
        Assert.Throws<ArgumentException>(() => F.interpolate(x, size: [2]));
    }

    [Fact]
    public void Losses_follow_their_formulas()
    {
        using var scope = NewDisposeScope();
        Tensor x = Normal(1, 4, 3), y = Normal(2, 4, 3);
        Values.Close((x - y).square().mean(), F.mse_loss(x, y), Tolerance);
        Values.Close((x - y).square(), F.mse_loss(x, y, nn.Reduction.None), Tolerance);
        var target = tensor(new[] { 0L, 2, 1, -100 });
        var log = x.log_softmax(-1);
        Values.Close(-(log[0, 0] + log[1, 2] + log[2, 1]) / 3, F.cross_entropy(x, target), Tolerance);
    }
}
