using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Torch.Tests;

public class SmokeTests
{
    [Fact]
    public void A_small_network_runs()
    {
        using var scope = NewDisposeScope();
        var x = randn([2, 3, 8, 8], generator: new Generator(1));
        var w = randn(4, 3, 3, 3);
        var y = nn.functional.conv2d(x, w, padding: [1, 1]);
        Assert.Equal([2L, 4, 8, 8], y.shape);
        var z = nn.functional.layer_norm(y.permute(0, 2, 3, 1), [4]);
        var q = z.flatten(1, 2);
        var a = nn.functional.scaled_dot_product_attention(q, q, q, is_casual: true);
        Assert.Equal([2L, 64, 4], a.shape);
        Assert.Equal(6f, tensor(new float[] { 1, 2, 3 }).sum().item<float>());
        Assert.Equal([1f, 3f], arange(4)[TensorIndex.Slice(1, null, 2)].to(float32).data<float>().ToArray());
        var b = cat([a, a * 2f - 1], 1).to(bfloat16);
        Assert.Equal([2L, 128, 4], b.shape);
        var e = Assert.Throws<TorchException>(() => a.matmul(x));
        Assert.DoesNotContain("\n", e.Message);
        Console.WriteLine(e.Message);
        Console.WriteLine(__version__ + " " + get_num_threads());
        var p = tensor(new[] { 1f, 2 }, requires_grad: true);
        (p * p).sum().backward();
        Assert.Equal([2f, 4f], p.grad!.data<float>().ToArray());
    }
}
