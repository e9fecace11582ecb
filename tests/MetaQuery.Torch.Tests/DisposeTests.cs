using MetaQuery.TestKit;
using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Torch.Tests;

[LeakCheck]
public sealed class DisposeTests
{
    [Fact]
    public void A_scope_disposes_all_but_what_was_moved_out()
    {
        var before = Tensor.TotalCount;
        Tensor kept, inner;
        using (var outer = NewDisposeScope())
        {
            using (NewDisposeScope())
            {
                inner = ones(2) + ones(2);
                kept = (inner * 2).MoveToOuterDisposeScope();
            }
            Assert.True(inner.IsInvalid);
            Assert.Equal(1, outer.DisposablesCount);
            Assert.Equal(4f, kept[0].item<float>());
            kept.DetachFromDisposeScope();
        }
        Assert.Equal(before + 1, Tensor.TotalCount);
        kept.Dispose();
    }

    [Fact]
    public void A_scope_can_be_emptied_and_go_on()
    {
        using var scope = NewDisposeScope();
        var sum = zeros(1);
        for (var i = 0; i < 5; i++) sum = scope.DisposeEverythingBut(sum + 1);
        Assert.Equal(1, scope.DisposablesCount);
        Assert.Equal(5f, sum.item<float>());
    }

    [Fact]
    public void A_tensor_disposed_early_leaves_its_scope()
    {
        using var scope = NewDisposeScope();
        ones(1).Dispose();
        Assert.Equal(0, scope.DisposablesCount);
    }

    [Fact]
    public void An_exception_inside_a_scope_disposes_its_tensors()
    {
        var before = Tensor.TotalCount;
        Assert.Throws<TorchException>(() =>
        {
            using var scope = NewDisposeScope();
            ones(2, 3).matmul(ones(2, 3));
        });
        Assert.Equal(before, Tensor.TotalCount);
    }

    [Fact]
    public void A_leak_fails_the_test_that_leaked()
    {
        var check = new LeakCheckAttribute();
        var method = GetType().GetMethod(nameof(A_leak_fails_the_test_that_leaked))!;
        check.Before(method);
        var leaked = ones(1);
        Assert.Contains("leaked 1 native tensors", Assert.ThrowsAny<Exception>(() => check.After(method)).Message);
        leaked.Dispose();
        check.After(method);
    }

    [Fact]
    public void Every_class_of_tests_here_checks_for_leaks() =>
        Assert.Empty(LeakCheckAttribute.ClassesWithout(typeof(DisposeTests).Assembly));

    [Fact]
    public void What_is_forgotten_is_collected_in_the_end()
    {
        var before = Tensor.TotalCount;
        Forget();
        for (var i = 0; i < 10 && Tensor.TotalCount > before; i++)
        {
            GC.Collect();
            GC.WaitForPendingFinalizers();
        }
        Assert.Equal(before, Tensor.TotalCount);
    }

    [System.Runtime.CompilerServices.MethodImpl(System.Runtime.CompilerServices.MethodImplOptions.NoInlining)]
    static void Forget() => GC.KeepAlive(ones(1));

    [Fact]
    public void A_parameter_takes_its_tensors_place_in_the_scope()
    {
        TorchSharp.Modules.Parameter parameter;
        using (var scope = NewDisposeScope())
        {
            var data = ones(1);
            parameter = new TorchSharp.Modules.Parameter(data);
            Assert.True(data.IsInvalid);
            Assert.Equal(1, scope.DisposablesCount);
        }
        Assert.True(parameter.IsInvalid);
    }
}
