using MetaQuery.TestKit;
using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Torch.Tests;

[LeakCheck]
public sealed class TensorTests
{
    [Fact]
    public void Elements_come_back_as_they_went_in_for_every_type()
    {
        using var scope = NewDisposeScope();
        Assert.Equal([1.5f, -2f], tensor(new[] { 1.5f, -2f }).data<float>().ToArray());
        Assert.Equal([1.5, -2.0], tensor(new[] { 1.5, -2.0 }).data<double>().ToArray());
        Assert.Equal([1L << 40, -1], tensor(new[] { 1L << 40, -1 }).data<long>().ToArray());
        Assert.Equal([7, -1], tensor(new[] { 7, -1 }).data<int>().ToArray());
        Assert.Equal([(byte)7, (byte)255], tensor(new byte[] { 7, 255 }).data<byte>().ToArray());
        Assert.Equal([true, false], tensor(new[] { true, false }).data<bool>().ToArray());
        Assert.Equal([(Half)1.5f], tensor(new[] { (Half)1.5f }).data<Half>().ToArray());
        Assert.Equal([1.5f], tensor(new[] { (BFloat16)1.5f }).data<BFloat16>().Select(x => x.ToSingle()).ToArray());
        Assert.Equal([2L, 3], tensor(new[,] { { 1f, 2, 3 }, { 4, 5, 6 } }).shape);
        Assert.Equal(4f, tensor(new[,] { { 1f, 2, 3 }, { 4, 5, 6 } })[1, 0].item<float>());
    }

    [Theory]
    [InlineData(1.00390625f, 1f)] // 1 + 2^-8: halfway, to even
    [InlineData(1.01171875f, 1.015625f)] // 1 + 3 * 2^-8: halfway, to even
    [InlineData(3.4e38f, float.PositiveInfinity)]
    [InlineData(-0f, -0f)]
    public void Bfloat16_rounds_to_nearest_even_here_and_in_libtorch(float value, float expected)
    {
        using var scope = NewDisposeScope();
        Assert.Equal(expected, ((BFloat16)value).ToSingle());
        Assert.Equal(expected, tensor(value).to(bfloat16).to(float32).item<float>());
    }

    [Fact]
    public void Views_share_memory_and_copies_do_not()
    {
        using var scope = NewDisposeScope();
        var x = arange(6).to(float32);
        var view = x.view(2, 3).transpose(0, 1);
        var copy = view.contiguous();
        x.mul_(10);
        Assert.Equal([0f, 30, 10, 40, 20, 50], Values.Of(view));
        Assert.Equal([0f, 3, 1, 4, 2, 5], Values.Of(copy));
        Assert.False(view.is_contiguous());
        Assert.Equal([1L, 3], view.stride());
    }

    [Fact]
    public void Every_part_of_an_index_does_what_it_does_in_PyTorch()
    {
        using var scope = NewDisposeScope();
        var x = arange(24).view(2, 3, 4);
        Assert.Equal(23L, x[1, 2, 3].item<long>());
        Assert.Equal(23L, x[^1, ^1, ^1].item<long>());
        Assert.Equal([4L, 5, 6, 7], x[0, 1].data<long>().ToArray());
        Assert.Equal([1L, 5, 9, 13, 17, 21], x[TensorIndex.Ellipsis, 1].data<long>().ToArray());
        Assert.Equal([2L, 3, 2], x[TensorIndex.Colon, TensorIndex.Colon, 1..3].shape);
        Assert.Equal([2L, 3, 2], x[.., .., TensorIndex.Slice(0, null, 2)].shape);
        Assert.Equal([2L, 1, 3, 4], x[TensorIndex.Colon, TensorIndex.None].shape);
        Assert.Equal([2L, 2, 4], x[TensorIndex.Colon, TensorIndex.Tensor(tensor(new[] { 0L, 2 }))].shape);
        Assert.Equal([20L, 21, 22, 23], x[x.gt(19)].data<long>().ToArray());
        x[0, TensorIndex.Colon, 0] = tensor(-1L);
        Assert.Equal([-1L, 1, 2, 3, -1], x[0].flatten().data<long>().ToArray()[..5]);
        x[TensorIndex.Tensor(x.lt(0))] = tensor(100L);
        Assert.Equal(100L, x[0, 0, 0].item<long>());
    }

    [Fact]
    public void Numbers_stand_on_either_side_of_an_operator()
    {
        using var scope = NewDisposeScope();
        var x = tensor(new[] { 1f, 2, 4 });
        Assert.Equal([3f, 4, 6], Values.Of(2 + x));
        Assert.Equal([1f, 0, -2], Values.Of(2 - x));
        Assert.Equal([2f, 1, 0.5f], Values.Of(2 / x));
        Assert.Equal([0.5f, 1, 2], Values.Of(x / 2f));
        Assert.Equal([-1f, -2, -4], Values.Of(-x));
        Assert.Equal([0f, 1, 1], Values.Of((x > 1.5).to(float32)));
        Assert.Equal([1f, 0, 0], Values.Of(~(x > 1.5) & (x < 3)));
        Assert.Equal(float32, (x * 2).dtype);
        Assert.Equal(bfloat16, (x.to(bfloat16) * 2.5).dtype);
    }

    [Fact]
    public void In_place_operators_return_the_tensor_itself()
    {
        using var scope = NewDisposeScope();
        var x = ones(3);
        var before = Tensor.TotalCount;
        Assert.Same(x, x.add_(1).mul_(3).sub_(x.detach()).fill_(2));
        Assert.Equal(before + 1, Tensor.TotalCount); // the detached one
    }

    [Fact]
    public void A_list_of_many_results_comes_back_whole()
    {
        using var scope = NewDisposeScope();
        var pieces = arange(100).split(1);
        Assert.Equal(100, pieces.Length);
        Assert.Equal(Enumerable.Range(0, 100).Select(i => (long)i), pieces.Select(piece => piece.item<long>()));
        Assert.Equal([0L, 1, 2, 99], cat(pieces).data<long>().ToArray()[..3].Append(cat(pieces)[99].item<long>()).ToArray());
        var thousand = Enumerable.Range(0, 1000).Select(i => tensor((long)i)).ToArray();
        Assert.Equal(499500L, stack(thousand).sum().item<long>());
        Assert.Equal([3L, 3, 2], arange(8).chunk(3).Select(piece => piece.size(0)));
    }

    [Fact]
    public void Reductions_agree_with_arithmetic()
    {
        using var scope = NewDisposeScope();
        var x = tensor(new[,] { { 1f, 2, 3 }, { 4, 5, 9 } });
        Assert.Equal(24f, x.sum().item<float>());
        Assert.Equal([5f, 7, 12], Values.Of(x.sum(0L)));
        Assert.Equal([2f, 6], Values.Of(x.mean([1])));
        Assert.Equal([1f, 7f], Values.Of(x.var(1)));
        Assert.Equal([2L, 2], x.argmax(1).data<long>().ToArray());
        var (values, indices) = x.topk(2);
        Assert.Equal([3f, 2, 9, 5], Values.Of(values));
        Assert.Equal([2L, 1, 2, 1], indices.data<long>().ToArray());
        Assert.Equal([3f, 9f], Values.Of(x.max(1).values));
        Values.Close([0.09003057f, 0.24472847f, 0.66524096f], x[0].softmax(-1), 1e-7f);
        Assert.Equal([1f, 3, 6], Values.Of(x[0].cumsum(0)));
        Assert.Equal([1L, 3], x.sum(0L, keepdim: true).shape);
    }

    [Fact]
    public void A_conversion_keeps_the_reference_or_copies_as_asked()
    {
        using var scope = NewDisposeScope();
        var x = ones(2);
        var same = x.to(float32);
        var copy = x.to(float32, copy: true);
        x.fill_(5);
        Assert.Equal([5f, 5], Values.Of(same));
        Assert.Equal([1f, 1], Values.Of(copy));
        var temporary = ones(2);
        Assert.Equal(float64, temporary.to(float64, disposeAfter: true).dtype);
        Assert.True(temporary.IsInvalid);
    }

    [Fact]
    public void A_managed_array_under_a_tensor_is_pinned_until_the_last_view_is_gone()
    {
        var array = new[] { 1f, 2, 3, 4 };
        using var buffer = frombuffer(array, float32, offset: 1);
        using var view = buffer[1..];
        GC.Collect();
        array[3] = 9;
        Assert.Equal([3f, 9], Values.Of(view));
        Assert.Throws<ArgumentException>(() => frombuffer(array, float32, count: 4, offset: 1));
    }

    [Fact]
    public void Factories_give_what_their_names_say()
    {
        using var scope = NewDisposeScope();
        Assert.Equal([0L, 2, 4], arange(0, 6, 2).data<long>().ToArray());
        Assert.Equal([0f, 0.5f, 1], Values.Of(arange(0, 1.5, 0.5)));
        Assert.Equal([0f, 0.25f, 0.5f, 0.75f, 1], Values.Of(linspace(0, 1, 5)));
        Assert.Equal([1f, 0, 0, 1], Values.Of(eye(2)));
        Assert.Equal([3f, 3], Values.Of(full([2], 3.0)));
        Assert.Equal(int64, full([2], 3).dtype);
        Assert.Equal(bfloat16, zeros(2, dtype: bfloat16).dtype);
        Assert.Equal([0L, 1, 2, 3, 4], randperm(5).sort().Values.data<long>().ToArray());
        Assert.Equal("cpu", ones(1).device.ToString());
        Assert.Equal(cuda.is_available(), cuda.device_count() > 0);
    }
}
