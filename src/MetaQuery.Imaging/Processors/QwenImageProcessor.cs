namespace MetaQuery.Imaging;

/// <summary>Qwen2.5-VL's image processor (transformers 4.49, Qwen2VLImageProcessor): a size within limits and close to the picture's own, PIL resampling,
/// then patches, those of a token together.</summary>
/// <param name="MinPixels">A smaller picture is enlarged.</param>
/// <param name="MaxPixels">A larger picture is shrunk.</param>
/// <param name="MergeSize">Side, in patches, of a token.</param>
/// <param name="TemporalPatchSize">Frames in a patch; a still picture fills them all.</param>
/// <param name="Filter">Null where the processor does not resize.</param>
public sealed record QwenImageProcessor(
    long MinPixels, long MaxPixels, int PatchSize, int MergeSize, int TemporalPatchSize, PixelScaling Scaling, ResampleFilter? Filter = ResampleFilter.Bicubic) : IImageProcessor
{
    private const int MostExtremeRatio = 200; // smart_resize

    /// <summary>The library's default for min_pixels.</summary>
    public const long DefaultMinPixels = 56 * 56;

    /// <summary>The library's default for max_pixels.</summary>
    public const long DefaultMaxPixels = 28 * 28 * 1280;

    /// <summary>The size that a picture is brought to: sides that are whole tokens, within the limits, the proportions nearly kept (smart_resize).</summary>
    /// <exception cref="ImageFormatException">A side is smaller than a token, one is more than 200 times the other, or the limits leave a side nothing.</exception>
    public (int HeightPixels, int WidthPixels) SmartResize(int heightPixels, int widthPixels)
    {
        var token = PatchSize * MergeSize;
        if (heightPixels < token || widthPixels < token)
            throw new ImageFormatException($"the picture is {widthPixels} pixels wide and {heightPixels} high; the model needs at least {token} a side");
        if (Math.Max(heightPixels, widthPixels) / (double)Math.Min(heightPixels, widthPixels) > MostExtremeRatio)
            throw new ImageFormatException($"the picture is {widthPixels} pixels wide and {heightPixels} high; the model takes one side up to {MostExtremeRatio} times the other");

        // Python's round: halves to even.
        double height = Math.Round(heightPixels / (double)token, MidpointRounding.ToEven) * token, width = Math.Round(widthPixels / (double)token, MidpointRounding.ToEven) * token;
        double pixels = (double)heightPixels * widthPixels;
        if (height * width > MaxPixels)
        {
            var beta = Math.Sqrt(pixels / MaxPixels);
            (height, width) = (Math.Floor(heightPixels / beta / token) * token, Math.Floor(widthPixels / beta / token) * token);
        }
        else if (height * width < MinPixels)
        {
            var beta = Math.Sqrt(MinPixels / pixels);
            (height, width) = (Math.Ceiling(heightPixels * beta / token) * token, Math.Ceiling(widthPixels * beta / token) * token);
        }

        return height >= token && width >= token ? ((int)height, (int)width)
            : throw new ImageFormatException($"the picture, {widthPixels} pixels wide and {heightPixels} high, has a side of less than {token} pixels when it is shrunk to {MaxPixels} pixels");
    }

    /// <inheritdoc/>
    public void Check(int heightPixels, int widthPixels) => Size(heightPixels, widthPixels);

    /// <returns>Values [patches, 3 · frames · side · side]: a patch is channel, frame, y, x; patches lie token by token.</returns>
    /// <inheritdoc/>
    public ProcessedImage Process(RgbImage image)
    {
        ArgumentNullException.ThrowIfNull(image);
        var (height, width) = Size(image.HeightPixels, image.WidthPixels);
        var resized = Filter is { } filter ? PillowResize.Resize(image, width, height, filter) : image;
        var (rows, columns) = (height / PatchSize, width / PatchSize);
        var patchLength = 3 * TemporalPatchSize * PatchSize * PatchSize;
        return new ProcessedImage(Patches(Scaling.ToPlanes(resized), rows, columns, patchLength), [(long)rows * columns, patchLength], rows, columns, image.HeightPixels, image.WidthPixels);
    }

    private (int HeightPixels, int WidthPixels) Size(int heightPixels, int widthPixels)
    {
        if (Filter is not null)
            return SmartResize(heightPixels, widthPixels);
        var token = PatchSize * MergeSize;
        return heightPixels % token == 0 && widthPixels % token == 0 ? (heightPixels, widthPixels)
            : throw new ImageFormatException($"the picture is {widthPixels} pixels wide and {heightPixels} high; the model's processor does not resize, so both must be multiples of {token}");
    }

    private float[] Patches(float[] planes, int rows, int columns, int patchLength)
    {
        var values = new float[checked(rows * columns * patchLength)];
        var (width, height, frame) = (columns * PatchSize, rows * PatchSize, PatchSize * PatchSize);
        for (var channel = 0; channel < 3; channel++)
        {
            for (var y = 0; y < height; y++)
            {
                var (row, inside) = Math.DivRem(y, PatchSize);
                ReadOnlySpan<float> line = planes.AsSpan(((channel * height) + y) * width, width);
                for (var column = 0; column < columns; column++)
                {
                    // Tokens row by row, and within a token its own patches row by row.
                    var token = (row / MergeSize * (columns / MergeSize)) + (column / MergeSize);
                    var patch = (((token * MergeSize) + (row % MergeSize)) * MergeSize) + (column % MergeSize);
                    var at = (patch * patchLength) + (channel * TemporalPatchSize * frame) + (inside * PatchSize);
                    line.Slice(column * PatchSize, PatchSize).CopyTo(values.AsSpan(at));
                }
            }
        }

        RepeatFrames(values, frame);
        return values;
    }

    private void RepeatFrames(float[] values, int frame)
    {
        for (var at = 0; at < values.Length; at += TemporalPatchSize * frame)
        {
            for (var i = 1; i < TemporalPatchSize; i++)
                values.AsSpan(at, frame).CopyTo(values.AsSpan(at + (i * frame)));
        }
    }
}
