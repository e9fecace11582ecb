using MetaQuery.Models.Mllm;
using MetaQuery.Models.Vision;
using MetaQuery.TestKit;
using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Models.Tests.Vision;

/// <summary>Where pictures stand among a prompt's tokens, counted by hand.</summary>
[LeakCheck]
public sealed class PositionTests
{
    [Fact]
    public void Text_behind_a_picture_goes_on_behind_its_longer_side()
    {
        using var scope = NewDisposeScope();
        var axes = new PositionAxes();
        axes.Add(new ImageSpan(2, 2, 3));
        Assert.Equal([0, 1, 2, 2, 2, 2, 2, 2, 5, 6], Axis(axes.Of(0, 10), 0));
        Assert.Equal([0, 1, 2, 2, 2, 3, 3, 3, 5, 6], Axis(axes.Of(0, 10), 1));
        Assert.Equal([0, 1, 2, 3, 4, 2, 3, 4, 5, 6], Axis(axes.Of(0, 10), 2));
        Assert.Equal(-3, axes.Delta);
    }

    [Fact]
    public void A_part_of_the_positions_is_a_part_of_all()
    {
        using var scope = NewDisposeScope();
        var axes = new PositionAxes();
        axes.Add(new ImageSpan(1, 3, 2));
        axes.Add(new ImageSpan(7, 1, 4));
        axes.Add(new ImageSpan(13, 2, 2));
        var all = axes.Of(0, 20);
        for (var first = 0; first < 20; first++)
            Assert.True(axes.Of(first, 20 - first).Equals(all.narrow(1, first, 20 - first)), $"from {first} on");
    }

    [Fact]
    public void A_picture_of_one_row_is_counted_by_columns_though_nothing_behind_it_moves()
    {
        using var scope = NewDisposeScope();
        var axes = new PositionAxes();
        axes.Add(new ImageSpan(1, 1, 3));
        Assert.True(axes.HasImages);
        Assert.Equal(0, axes.Delta);
        Assert.Equal([0, 1, 1, 1, 4], Axis(axes.Of(0, 5), 1));
        Assert.Equal([0, 1, 2, 3, 4], Axis(axes.Of(0, 5), 2));
    }

    [Fact]
    public void A_conversation_that_is_cut_forgets_the_pictures_behind_the_cut()
    {
        using var scope = NewDisposeScope();
        var axes = new PositionAxes();
        axes.Add(new ImageSpan(2, 2, 2));
        axes.Add(new ImageSpan(8, 2, 2));
        axes.Truncate(11);
        Assert.Equal(-2, axes.Delta);
        axes.Truncate(6);
        Assert.True(axes.HasImages);
        axes.Truncate(5);
        Assert.False(axes.HasImages);
        Assert.Throws<ArgumentException>(() => axes.Add(new ImageSpan(0, 0, 2)));
    }

    [Fact]
    public void A_pictures_token_is_repeated_for_each_of_its_states()
    {
        using var scope = NewDisposeScope();
        using var first = new ImageFeatures(zeros(3, 2), 1, 3);
        using var second = new ImageFeatures(zeros(2, 2), 2, 1);
        var prompt = PromptTokens.Expand([7, 9, 8, 9], 9, [first, second]);
        Assert.Equal([7, 9, 9, 9, 8, 9, 9], prompt.Ids);
        Assert.Equal([1, 5], prompt.Images.Select(image => image.Start));
        Assert.Equal([0, 4], prompt.From(1).Images.Select(image => image.Start));
        Assert.Throws<ArgumentException>(() => prompt.From(2));
        Assert.Contains("2 pictures, there are 1", Assert.Throws<ArgumentException>(() => PromptTokens.Expand([9, 9], 9, [first])).Message, StringComparison.Ordinal);
    }

    // A square picture of the tower's size is one tile: 27 rows of 27 and a newline. Then borders left out, and too large pictures.
    [Theory]
    [InlineData(27, 9, 1, 1, 384, 384, 0, 0, 27, 27, 756)]
    [InlineData(4, 9, 1, 2, 50, 100, 0, 0, 4, 8, 36)]
    [InlineData(4, 9, 1, 2, 10, 100, 2, 0, 0, 8, 0)]
    [InlineData(4, 9, 2, 1, 100, 26, 0, 1, 8, 2, 24)]
    [InlineData(4, 4, 3, 4, 300, 400, 0, 0, 6, 9, 60)]
    public void Tiles_are_packed_as_one_picture(
        int side, int most, int tileRows, int tileColumns, int height, int width, int top, int left, int packedRows, int packedColumns, int tokens)
    {
        var plan = AnyResolutionPacking.Plan(side, most, tileRows, tileColumns, height, width);
        Assert.Equal((top, left, packedRows, packedColumns, tokens), (plan.TopBorder, plan.LeftBorder, plan.PackedRows, plan.PackedColumns, plan.Tokens));
    }

    private static long[] Axis(Tensor positions, int axis)
    {
        using var row = positions[axis].contiguous();
        return row.data<long>().ToArray();
    }
}
