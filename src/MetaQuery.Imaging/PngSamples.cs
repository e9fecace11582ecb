namespace MetaQuery.Imaging;

/// <summary>Rows of any PNG kind to RGB.</summary>
internal static class PngSamples
{
    /// <param name="samples">An unfiltered row.</param>
    /// <param name="widthPixels">Pixels in it.</param>
    /// <param name="layout">The picture's kind.</param>
    /// <param name="palette">[256, 3] for palette pictures.</param>
    /// <param name="rgb">[width, 3]</param>
    public static void ToRgb(ReadOnlySpan<byte> samples, int widthPixels, PngLayout layout, byte[]? palette, Span<byte> rgb)
    {
        switch (layout.ColourType, layout.Depth)
        {
            case (PngColour.Rgb, 8):
                samples[..(widthPixels * 3)].CopyTo(rgb);
                break;
            case (PngColour.Grey, 16):
                Grey16(samples, widthPixels, rgb);
                break;
            case (PngColour.Grey or PngColour.Palette, _):
                Packed(samples, widthPixels, layout, palette, rgb);
                break;
            default:
                Spread(samples, widthPixels, layout, rgb);
                break;
        }
    }

    /// <summary>RGB, RGBA and grey with alpha: of 16 bits the upper 8 are taken, alpha is passed over.</summary>
    private static void Spread(ReadOnlySpan<byte> samples, int widthPixels, PngLayout layout, Span<byte> rgb)
    {
        int sample = layout.Depth / 8;
        int step = sample * layout.SamplesPerPixel;
        int toNext = layout.ColourType == PngColour.GreyAlpha ? 0 : sample;
        for (int x = 0; x < widthPixels; x++)
        {
            int from = x * step;
            rgb[x * 3] = samples[from];
            rgb[(x * 3) + 1] = samples[from + toNext];
            rgb[(x * 3) + 2] = samples[from + (2 * toNext)];
        }
    }

    /// <summary>Pillow keeps 16-bit grey as numbers and clips them at 255: so does this, for a picture must be to the model what it is there.</summary>
    private static void Grey16(ReadOnlySpan<byte> samples, int widthPixels, Span<byte> rgb)
    {
        for (int x = 0; x < widthPixels; x++)
        {
            rgb.Slice(x * 3, 3).Fill(samples[x * 2] != 0 ? (byte)255 : samples[(x * 2) + 1]);
        }
    }

    /// <summary>1, 2, 4 or 8 bits a pixel, the leftmost in the highest bits.</summary>
    private static void Packed(ReadOnlySpan<byte> samples, int widthPixels, PngLayout layout, byte[]? palette, Span<byte> rgb)
    {
        int depth = layout.Depth;
        int largest = (1 << depth) - 1;
        int toGrey = 255 / largest;
        for (int x = 0; x < widthPixels; x++)
        {
            int bit = x * depth;
            int value = (samples[bit >> 3] >> (8 - depth - (bit & 7))) & largest;
            Span<byte> pixel = rgb.Slice(x * 3, 3);
            if (layout.ColourType == PngColour.Palette)
            {
                palette.AsSpan(value * 3, 3).CopyTo(pixel);
            }
            else
            {
                pixel.Fill((byte)(value * toGrey));
            }
        }
    }
}
