namespace MetaQuery.Imaging.Tests;

/// <summary>Image processors beyond the golden cases: order of patches and tiles, and what is refused.</summary>
public sealed class ProcessorTests
{
    private static readonly PixelScaling Plain = new(1, [0, 0, 0], [1, 1, 1]);

    [Fact]
    public void Patches_lie_token_by_token_and_hold_channel_frame_row_column()
    {
        var processor = new QwenImageProcessor(1, 1 << 20, PatchSize: 2, MergeSize: 2, TemporalPatchSize: 3, Plain, Filter: null);
        var image = Numbered(8, 4); // 4 x 2 patches, 2 tokens side by side
        var processed = processor.Process(image);
        Assert.Equal([8L, 3 * 3 * 2 * 2], processed.Shape);
        Assert.Equal((2, 4), (processed.Rows, processed.Columns));
        // The second token's patches: right half of the picture, its upper row first.
        (int X, int Y)[] corners = [(0, 0), (2, 0), (0, 2), (2, 2), (4, 0), (6, 0), (4, 2), (6, 2)];
        for (var patch = 0; patch < 8; patch++)
        {
            for (var channel = 0; channel < 3; channel++)
            {
                for (var frame = 0; frame < 3; frame++)
                {
                    var at = (((patch * 3) + channel) * 3 + frame) * 4;
                    var (x, y) = corners[patch];
                    Assert.Equal([Sample(x, y), Sample(x + 1, y), Sample(x, y + 1), Sample(x + 1, y + 1)], processed.Values[at..(at + 4)]);

                    float Sample(int column, int row) => image.Pixels[(((row * 8) + column) * 3) + channel];
                }
            }
        }
    }

    [Theory]
    [InlineData(27, 100, "at least 28")]
    [InlineData(28, 6000, "200 times")]
    [InlineData(6000, 28, "200 times")]
    public void Qwen_refuses_small_and_narrow_pictures(int height, int width, string reason)
    {
        var processor = new QwenImageProcessor(256 * 28 * 28, 1280 * 28 * 28, 14, 2, 2, Plain);
        Assert.Contains(reason, Assert.Throws<ImageFormatException>(() => processor.Check(height, width)).Message, StringComparison.Ordinal);
        Assert.Contains(reason, Assert.Throws<ImageFormatException>(() => processor.Process(new RgbImage(width, height))).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_side_that_the_limit_would_leave_nothing_is_refused()
    {
        var processor = new QwenImageProcessor(1, 28 * 28 * 2, 14, 2, 2, Plain);
        Assert.Contains("less than 28", Assert.Throws<ImageFormatException>(() => processor.Check(5600, 28)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Tiles_follow_the_whole_picture_row_by_row()
    {
        // Twice as large as the best size: each pixel of a tile is the mean of equal ones.
        var image = new RgbImage(8, 4);
        for (var i = 0; i < 32; i++)
            image.Pixels.AsSpan(i * 3, 3).Fill((byte)(10 * (1 + (i % 8 / 4) + (2 * (i / 16)))));
        var processor = new LlavaOnevisionImageProcessor(2, [(2, 2), (4, 8), (2, 4)], Plain, ResampleFilter.Bilinear);
        var processed = processor.Process(image);
        Assert.Equal((4, 8), processor.BestSize(4, 8));
        Assert.Equal((2, 4), (processed.Rows, processed.Columns));
        Assert.Equal([9L, 3, 2, 2], processed.Shape);
        Assert.Equal([10f, 10, 20, 20, 30, 30, 40, 40], Enumerable.Range(1, 8).Select(tile => processed.Values[tile * 12]));
    }

    [Fact]
    public void What_is_left_beside_a_fitted_picture_is_black()
    {
        var white = new RgbImage(4, 2);
        white.Pixels.AsSpan().Fill(255);
        var processed = new LlavaOnevisionImageProcessor(4, [(4, 4)], Plain).Process(white);
        Assert.Equal([0f, 255, 255, 0], Enumerable.Range(0, 4).Select(row => processed.Values[48 + (row * 4)]));
    }

    [Fact]
    public void A_picture_too_long_for_the_crop_is_refused()
    {
        var processor = new LlavaOnevisionImageProcessor(384, [(384, 384)], Plain, ShorterSideCrop: 384);
        processor.Check(1, 170);
        Assert.Throws<ImageFormatException>(() => processor.Check(1, 171));
        Assert.Throws<ImageFormatException>(() => processor.Process(new RgbImage(171, 1)));
    }

    [Fact]
    public void A_deviation_of_0_is_refused() => Assert.Throws<ArgumentException>(() => new PixelScaling(1, [0, 0, 0], [1, 0, 1]).ToPlanes(new RgbImage(1, 1)));

    private static RgbImage Numbered(int width, int height)
    {
        var image = new RgbImage(width, height);
        for (var i = 0; i < image.Pixels.Length; i++)
            image.Pixels[i] = (byte)i;
        return image;
    }
}
