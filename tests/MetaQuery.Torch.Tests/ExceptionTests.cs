using MetaQuery.TestKit;
using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Torch.Tests;

[LeakCheck]
public sealed class ExceptionTests
{
    [Fact]
    public void A_wrong_shape_is_a_typed_exception_with_libtorchs_own_first_line()
    {
        using var scope = NewDisposeScope();
        var error = Assert.Throws<TorchException>(() => ones(2, 3).matmul(ones(4, 5)));
        Assert.Contains("mat1 and mat2 shapes cannot be multiplied (2x3 and 4x5)", error.Message);
        Assert.DoesNotContain('\n', error.Message);
        Assert.False(error.IsTransient);
    }

    [Theory]
    [InlineData("conv2d")]
    [InlineData("layer_norm")]
    [InlineData("view")]
    [InlineData("cat")]
    [InlineData("linear")]
    [InlineData("cross_entropy")]
    [InlineData("empty")]
    [InlineData("pixel_shuffle")]
    public void The_process_survives_every_kind_of_wrong_call(string what)
    {
        using var scope = NewDisposeScope();
        Action call = what switch
        {
            "conv2d" => () => nn.functional.conv2d(ones(1, 3, 8, 8), ones(4, 5, 3, 3)),
            "layer_norm" => () => nn.functional.layer_norm(ones(2, 3), [4]),
            "view" => () => ones(2, 3).view(4, 2),
            "cat" => () => cat([ones(2, 3), ones(3, 2)]),
            "linear" => () => nn.functional.linear(ones(2, 3), ones(4, 5)),
            "cross_entropy" => () => nn.functional.cross_entropy(ones(2, 3), tensor(new[] { 0L, 7 })),
            "empty" => () => empty(-1),
            _ => () => nn.functional.pixel_shuffle(ones(1, 3, 2, 2), 2),
        };
        Assert.Throws<TorchException>(call);
        Assert.Equal(6f, ones(2, 3).sum().item<float>());
    }

    [Fact]
    public void An_index_out_of_range_is_an_index_error()
    {
        using var scope = NewDisposeScope();
        var table = nn.Embedding(4, 2).DisposeWith(scope);
        Assert.Equal(TorchError.Index, Assert.Throws<TorchException>(() => table.call(tensor(new[] { 4L }))).Error);
        Assert.Equal(TorchError.Index, Assert.Throws<TorchException>(() => ones(2)[5]).Error);
        Assert.Equal(TorchError.Index, Assert.Throws<TorchException>(() => ones(2)[0, 0]).Error);
    }

    [Fact]
    public void Memory_that_cannot_be_had_is_transient()
    {
        using var scope = NewDisposeScope();
        var error = Assert.Throws<TorchException>(() => empty(1L << 46));
        Assert.Equal(TorchError.OutOfMemory, error.Error);
        Assert.True(error.IsTransient);
    }

    [Fact]
    public void Types_that_do_not_go_together_are_refused()
    {
        using var scope = NewDisposeScope();
        Assert.Throws<TorchException>(() => ones(2, 2).matmul(ones([2, 2], int64)));
        Assert.Throws<ArgumentException>(() => ones(2).data<double>());
        Assert.Throws<ArgumentException>(() => ones(2).item<float>());
        Assert.Throws<ArgumentException>(() => ones(1).item<long>());
    }

    [Fact]
    public void A_disposed_tensor_says_so()
    {
        var tensor = ones(2);
        tensor.Dispose();
        tensor.Dispose();
        Assert.True(tensor.IsInvalid);
        Assert.Throws<ObjectDisposedException>(() => tensor.shape);
        Assert.Throws<ObjectDisposedException>(() => tensor.add(1));
    }

    [Fact]
    public void An_exception_in_one_thread_leaves_another_threads_message_alone()
    {
        var messages = new string[2];
        var threads = Enumerable.Range(0, 2).Select(i => new Thread(() =>
        {
            using var scope = NewDisposeScope();
            for (var round = 0; round < 200; round++)
                messages[i] = Assert.Throws<TorchException>(() => ones(2, 3 + i).matmul(ones(9, 9))).Message;
        })).ToList();
        threads.ForEach(thread => thread.Start());
        threads.ForEach(thread => thread.Join());
        Assert.Contains("2x3 and 9x9", messages[0]);
        Assert.Contains("2x4 and 9x9", messages[1]);
    }
}

internal static class ScopeExtensions
{
    /// <summary>Modules are not tensors: a scope disposes one only when it is attached.</summary>
    public static T DisposeWith<T>(this T disposable, DisposeScope scope) where T : IDisposable
    {
        scope.Attach(disposable);
        return disposable;
    }
}
