namespace MetaQuery.Imaging;

/// <summary>torchvision's Resize, CenterCrop and Normalize on PIL pictures (torchvision 0.2x, transforms.v2).</summary>
public static class ImageTransforms
{
    /// <summary>The size that <c>Resize(size)</c> gives: the shorter side becomes <paramref name="sizePixels"/>, the longer keeps the ratio, rounded down.</summary>
    public static (int WidthPixels, int HeightPixels) ShorterSideSize(int widthPixels, int heightPixels, int sizePixels)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(sizePixels, 1);
        int shorter = Math.Min(widthPixels, heightPixels);
        int longer = (int)((long)sizePixels * Math.Max(widthPixels, heightPixels) / shorter);
        return widthPixels <= heightPixels ? (sizePixels, longer) : (longer, sizePixels);
    }

    /// <summary><c>Resize(size)</c>: bilinear, with antialiasing, as PIL pictures always are.</summary>
    public static RgbImage ResizeShorterSide(RgbImage image, int sizePixels, ResampleFilter filter = ResampleFilter.Bilinear)
    {
        (int width, int height) = ShorterSideSize(image.WidthPixels, image.HeightPixels, sizePixels);
        return PillowResize.Resize(image, width, height, filter);
    }

    /// <summary>Where <c>CenterCrop(size)</c> begins: half of what is over, halves rounded to even; negative where the picture is smaller.</summary>
    public static (int Left, int Top) CenterCropOffset(int widthPixels, int heightPixels, int sizePixels) =>
        (Offset(widthPixels, sizePixels), Offset(heightPixels, sizePixels));

    /// <summary><c>CenterCrop(size)</c>; what lies outside the picture is black.</summary>
    public static RgbImage CenterCrop(RgbImage image, int sizePixels)
    {
        var result = new RgbImage(sizePixels, sizePixels);
        (int left, int top) = CenterCropOffset(image.WidthPixels, image.HeightPixels, sizePixels);
        int from = Math.Max(left, 0);
        int width = Math.Min(sizePixels, image.WidthPixels);
        for (int y = Math.Max(0, -top); y < sizePixels && top + y < image.HeightPixels; y++)
        {
            image.Row(top + y).Slice(from * 3, width * 3).CopyTo(result.Row(y)[(Math.Max(0, -left) * 3)..]);
        }

        return result;
    }

    /// <summary><c>ToDtype(float32, scale=True)</c> and <c>Normalize(mean, std)</c>.</summary>
    /// <param name="image">The picture.</param>
    /// <param name="mean">For red, green, blue.</param>
    /// <param name="standardDeviation">For red, green, blue.</param>
    /// <returns>[3, height, width], float32: (x / 255 - mean) / standardDeviation.</returns>
    public static float[] ToNormalizedPlanes(RgbImage image, ReadOnlySpan<float> mean, ReadOnlySpan<float> standardDeviation)
    {
        if (mean.Length != 3 || standardDeviation.Length != 3)
        {
            throw new ArgumentException($"three means and deviations are needed, got {mean.Length} and {standardDeviation.Length}", nameof(mean));
        }

        int pixels = image.WidthPixels * image.HeightPixels;
        float[] planes = new float[checked(pixels * 3)];
        Span<float> values = stackalloc float[256];
        for (int channel = 0; channel < 3; channel++)
        {
            for (int sample = 0; sample < 256; sample++)
            {
                values[sample] = ((sample / 255f) - mean[channel]) / standardDeviation[channel];
            }

            Span<float> plane = planes.AsSpan(channel * pixels, pixels);
            ReadOnlySpan<byte> samples = image.Pixels.AsSpan(channel);
            for (int i = 0; i < plane.Length; i++)
            {
                plane[i] = values[samples[i * 3]];
            }
        }

        return planes;
    }

    private static int Offset(int sidePixels, int sizePixels) => sidePixels >= sizePixels
        ? (int)Math.Round((sidePixels - sizePixels) / 2.0, MidpointRounding.ToEven)
        : -((sizePixels - sidePixels) / 2); // torchvision pads (size - side) // 2 on the left
}
