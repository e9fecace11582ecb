namespace MetaQuery.Imaging;

/// <summary>LLaVA-OneVision's image processor (transformers 4.49, LlavaOnevisionImageProcessor): the whole picture at the tower's size, then the picture
/// once more, fitted into the best of several sizes and cut into tiles ("anyres").</summary>
/// <param name="SidePixels">Of a tile, and of the whole picture at the tower's size.</param>
/// <param name="Pinpoints">Height and width of the sizes to choose from; multiples of <paramref name="SidePixels"/>.</param>
/// <param name="Filter">PIL's.</param>
/// <param name="ShorterSideCrop">Before all else: the shorter side is brought to this size (bilinear, as torchvision's Resize) and a square cut from the middle; null: nothing.</param>
public sealed record LlavaOnevisionImageProcessor(
    int SidePixels, IReadOnlyList<(int HeightPixels, int WidthPixels)> Pinpoints, PixelScaling Scaling, ResampleFilter Filter = ResampleFilter.Bicubic, int? ShorterSideCrop = null)
    : IImageProcessor
{
    /// <summary>The size for a picture: the one in which most of its pixels stay, of equal ones that with the smaller border (select_best_resolution).</summary>
    public (int HeightPixels, int WidthPixels) BestSize(int heightPixels, int widthPixels)
    {
        var best = Pinpoints[0];
        var (most, smallestBorder) = (0L, long.MaxValue);
        foreach (var (height, width) in Pinpoints)
        {
            var scale = Math.Min(width / (double)widthPixels, height / (double)heightPixels);
            var effective = Math.Min((long)(widthPixels * scale) * (long)(heightPixels * scale), (long)widthPixels * heightPixels);
            var border = ((long)width * height) - effective;
            if (effective > most || (effective == most && border < smallestBorder))
                (best, most, smallestBorder) = ((height, width), effective, border);
        }

        return best;
    }

    /// <inheritdoc/>
    public void Check(int heightPixels, int widthPixels)
    {
        if (ShorterSideCrop is not { } side)
            return;
        var (width, height) = ImageTransforms.ShorterSideSize(widthPixels, heightPixels, side);
        if (Math.Max(width, height) > RgbImage.MaxSidePixels)
            throw new ImageFormatException($"the picture is {widthPixels} pixels wide and {heightPixels} high: at {side} pixels its shorter side leaves the longer above {RgbImage.MaxSidePixels}");
    }

    /// <returns>Values [1 + rows · columns, 3, side, side].</returns>
    /// <inheritdoc/>
    public ProcessedImage Process(RgbImage image)
    {
        ArgumentNullException.ThrowIfNull(image);
        Check(image.HeightPixels, image.WidthPixels);
        if (ShorterSideCrop is { } side)
            image = ImageTransforms.CenterCrop(ImageTransforms.ResizeShorterSide(image, side), side);
        var (height, width) = BestSize(image.HeightPixels, image.WidthPixels);
        var (rows, columns) = (height / SidePixels, width / SidePixels);
        var fitted = Fit(image, height, width);
        var tileLength = 3 * SidePixels * SidePixels;
        var values = new float[checked((1 + (rows * columns)) * tileLength)];
        Scaling.ToPlanes(PillowResize.Resize(image, SidePixels, SidePixels, Filter), 0, 0, SidePixels, SidePixels, values.AsSpan(0, tileLength));
        for (var tile = 0; tile < rows * columns; tile++)
        {
            var (row, column) = Math.DivRem(tile, columns);
            Scaling.ToPlanes(Tile(fitted, row * SidePixels, column * SidePixels), 0, 0, SidePixels, SidePixels, values.AsSpan((1 + tile) * tileLength, tileLength));
        }

        return new ProcessedImage(values, [1 + ((long)rows * columns), 3, SidePixels, SidePixels], rows, columns, image.HeightPixels, image.WidthPixels);
    }

    // As large as fits, with a black border of the same width on both sides: one pixel short of the size where what is left is odd.
    private RgbImage Fit(RgbImage image, int height, int width)
    {
        double scaleWidth = width / (double)image.WidthPixels, scaleHeight = height / (double)image.HeightPixels;
        var (newHeight, newWidth) = scaleWidth < scaleHeight
            ? (Math.Min((int)Math.Ceiling(image.HeightPixels * scaleWidth), height), width)
            : (height, Math.Min((int)Math.Ceiling(image.WidthPixels * scaleHeight), width));
        var resized = PillowResize.Resize(image, newWidth, newHeight, Filter);
        var (left, top) = ((width - newWidth) / 2, (height - newHeight) / 2);
        var result = new RgbImage(newWidth + (2 * left), newHeight + (2 * top));
        for (var y = 0; y < newHeight; y++)
            resized.Row(y).CopyTo(result.Row(top + y)[(left * 3)..]);
        return result;
    }

    // The last tile of a picture that is one pixel short is brought to the size of the others.
    private RgbImage Tile(RgbImage picture, int top, int left)
    {
        var tile = new RgbImage(Math.Min(SidePixels, picture.WidthPixels - left), Math.Min(SidePixels, picture.HeightPixels - top));
        for (var y = 0; y < tile.HeightPixels; y++)
            picture.Row(top + y).Slice(left * 3, tile.StrideBytes).CopyTo(tile.Row(y));
        return PillowResize.Resize(tile, SidePixels, SidePixels, Filter);
    }
}

/// <summary>SigLIP's image processor: one size for every picture, whatever its proportions.</summary>
public sealed record SiglipImageProcessor(int HeightPixels, int WidthPixels, PixelScaling Scaling, ResampleFilter Filter = ResampleFilter.Bicubic) : IImageProcessor
{
    /// <inheritdoc/>
    public void Check(int heightPixels, int widthPixels) { }

    /// <returns>Values [3, height, width].</returns>
    /// <inheritdoc/>
    public ProcessedImage Process(RgbImage image)
    {
        ArgumentNullException.ThrowIfNull(image);
        var resized = PillowResize.Resize(image, WidthPixels, HeightPixels, Filter);
        return new ProcessedImage(Scaling.ToPlanes(resized), [3, HeightPixels, WidthPixels], 1, 1, image.HeightPixels, image.WidthPixels);
    }
}
