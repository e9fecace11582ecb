using MetaQuery.Models.Vision;
using MetaQuery.TestKit;
using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Models.Tests.Vision;

/// <summary>Windows and angles against the reference's own way to them: a grid padded to whole windows, and angles looked up per row and column.</summary>
[LeakCheck]
public sealed class QwenLayoutTests
{
    // window in pixels, patch, merge, rows and columns of patches
    [Theory]
    [InlineData(112, 14, 2, 16, 8)]
    [InlineData(112, 14, 2, 10, 14)]
    [InlineData(112, 14, 2, 2, 2)]
    [InlineData(56, 14, 2, 6, 18)]
    [InlineData(84, 14, 2, 14, 4)]
    [InlineData(60, 5, 3, 21, 12)]
    [InlineData(16, 4, 1, 9, 5)]
    public void Windows_and_angles_are_the_references(int window, int patch, int merge, int rows, int columns)
    {
        using var scope = NewDisposeScope();
        var config = new QwenVisionConfig
        {
            Depth = 1, HiddenSize = 24, IntermediateSize = 8, NumHeads = 2, Channels = 3, PatchSize = patch, SpatialMergeSize = merge,
            TemporalPatchSize = 2, WindowSize = window, OutputSize = 4, FullAttentionBlocks = [], ImageTokenId = 0,
        };
        var layout = new QwenVisionLayout(config, rows, columns);
        var (side, high, wide) = (window / merge / patch, rows / merge, columns / merge);

        // get_window_index: a window more than needed where a side divides, which leaves empty ones.
        var grid = arange(high * wide, dtype: ScalarType.Int64).view(high, wide);
        var (down, right) = (side - (high % side), side - (wide % side));
        var padded = nn.functional.pad(grid, [0, right, 0, down], value: -100)
            .view((high + down) / side, side, (wide + right) / side, side).permute(0, 2, 1, 3).reshape(-1, side * side);
        var inside = padded.ne(-100);
        Assert.Equal(padded.masked_select(inside).data<long>().ToArray(), layout.WindowIndex);
        var lengths = inside.to(ScalarType.Int64).sum(1).data<long>().ToArray().Where(length => length > 0).ToList();
        Assert.Equal([0L, .. lengths.Select((_, i) => lengths.Take(i + 1).Sum() * merge * merge)], layout.WindowOffsets);

        // rot_pos_emb, then the permutation into windows.
        const int HeadSize = 12;
        var frequencies = tensor(Enumerable.Range(0, HeadSize / 4).Select(i => (float)Math.Pow(10000, -2.0 * i / (HeadSize / 2))).ToArray());
        var expected = new List<Tensor>();
        foreach (var token in layout.WindowIndex)
        {
            var (top, left) = (token / wide * merge, token % wide * merge);
            for (var i = 0; i < merge * merge; i++)
                expected.Add(cat([frequencies * (top + (i / merge)), frequencies * (left + (i % merge))], 0));
        }

        using var difference = (layout.Angles() - stack(expected, 0)).abs().max();
        Assert.True(difference.item<float>() < 1e-5f);
    }

    [Fact]
    public void A_grid_that_is_no_whole_number_of_tokens_is_refused()
    {
        var config = new QwenVisionConfig
        {
            Depth = 1, HiddenSize = 24, IntermediateSize = 8, NumHeads = 2, Channels = 3, PatchSize = 14, SpatialMergeSize = 2,
            TemporalPatchSize = 2, WindowSize = 112, OutputSize = 4, FullAttentionBlocks = [], ImageTokenId = 0,
        };
        Assert.Contains("3 x 4", Assert.Throws<ArgumentException>(() => new QwenVisionLayout(config, 3, 4)).Message, StringComparison.Ordinal);
    }
}
