using MetaQuery.TestKit;
using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Torch.Tests;

[LeakCheck]
public sealed class AutogradTests
{
    [Fact]
    public void Gradients_equal_their_closed_forms()
    {
        using var scope = NewDisposeScope();
        var x = tensor(new[] { 0.5f, -1, 2 }, requires_grad: true);
        (x.pow(3) + 2 * x).sum().backward();
        Values.Close([3 * 0.25f + 2, 3 + 2, 3 * 4 + 2], x.grad!, 1e-6f);
        x.grad = null;
        x.softmax(-1)[0].backward();
        var p = Values.Of(x.detach().softmax(-1));
        Values.Close([p[0] * (1 - p[0]), -p[0] * p[1], -p[0] * p[2]], x.grad!, 1e-6f);
    }

    [Fact]
    public void The_gradient_of_a_matrix_product_is_the_other_factor_transposed()
    {
        using var scope = NewDisposeScope();
        using var generator = new Generator(3);
        var a = randn([4, 5], requires_grad: true, generator: generator);
        var b = randn([5, 6], requires_grad: true, generator: generator);
        var seed = randn([4, 6], generator: generator);
        a.matmul(b).backward([seed]);
        Values.Close(seed.matmul(b.detach().t()), a.grad!, 1e-5f);
        Values.Close(a.detach().t().matmul(seed), b.grad!, 1e-5f);
    }

    [Fact]
    public void Gradients_accumulate_until_they_are_dropped()
    {
        using var scope = NewDisposeScope();
        var x = ones([2], requires_grad: true);
        (x * 3).sum().backward();
        (x * 3).sum().backward();
        Assert.Equal([6f, 6], Values.Of(x.grad!));
        x.grad = null;
        Assert.Null(x.grad);
    }

    [Fact]
    public void Second_derivatives_come_from_a_graph_of_the_first()
    {
        using var scope = NewDisposeScope();
        var x = tensor(new[] { 2f }, requires_grad: true);
        var first = autograd.grad([x.pow(3).sum()], [x], create_graph: true)[0];
        Assert.Equal(12f, first.item<float>());
        Assert.Equal(12f, autograd.grad([first.sum()], [x])[0].item<float>());
    }

    [Fact]
    public void An_unused_input_has_no_gradient_where_that_is_allowed()
    {
        using var scope = NewDisposeScope();
        Tensor x = ones([1], requires_grad: true), y = ones([1], requires_grad: true);
        Assert.Null(autograd.grad([(x * 2).sum()], [x, y], allow_unused: true)[1]);
        Assert.Throws<TorchException>(() => autograd.grad([(x * 2).sum()], [x, y]));
    }

    [Fact]
    public void No_gradients_are_recorded_inside_no_grad_and_inference_mode()
    {
        using var scope = NewDisposeScope();
        var x = ones([2], requires_grad: true);
        using (no_grad())
        {
            Assert.False((x * 2).requires_grad);
            using (enable_grad()) Assert.True((x * 2).requires_grad);
            Assert.False(is_grad_enabled());
        }
        Assert.True(is_grad_enabled());
        Tensor made;
        using (inference_mode())
        {
            Assert.True(is_inference_mode_enabled());
            made = x * 2;
        }
        Assert.False(is_inference_mode_enabled());
        Assert.Throws<TorchException>(() => (made * x).sum().backward());
    }

    [Fact]
    public void Backward_without_a_graph_is_an_exception()
    {
        using var scope = NewDisposeScope();
        Assert.Throws<TorchException>(() => ones(1).backward());
        Assert.Throws<TorchException>(() => ones([2], requires_grad: true).mul(2).backward());
    }
}
