using System.Buffers.Binary;
using System.IO.Compression;

namespace MetaQuery.Imaging;

/// <summary>Reads every PNG kind to RGB as Pillow 11's <c>convert("RGB")</c> does: alpha and transparency are dropped, not blended; gamma is ignored.</summary>
internal static class PngDecoder
{
    private const int MaxDeflateRatio = 1032; // RFC 1951: 258 bytes from two bits

    public static ImageHeader Identify(ReadOnlySpan<byte> file)
    {
        int at = PngChunks.Signature.Length;
        PngLayout layout = ReadHeader(file, ref at);
        return new ImageHeader(ImageFormat.Png, layout.WidthPixels, layout.HeightPixels, IsAnimated(file, at));
    }

    public static RgbImage Decode(ReadOnlySpan<byte> file)
    {
        int at = PngChunks.Signature.Length;
        PngLayout layout = ReadHeader(file, ref at);
        byte[]? palette = null;
        using var packed = new MemoryStream();
        bool pixelsEnded = false;
        while (true)
        {
            PngChunk chunk = PngChunks.Read(file, ref at);
            if (chunk.Type == "IEND")
            {
                break;
            }

            pixelsEnded |= packed.Length > 0 && chunk.Type != "IDAT";
            switch (chunk.Type)
            {
                case "IDAT" when pixelsEnded:
                    throw new ImageFormatException("the PNG is damaged: its IDAT chunks do not stand together");
                case "IDAT":
                    packed.Write(chunk.Data(file));
                    break;
                case "PLTE":
                    palette = ReadPalette(chunk.Data(file));
                    break;
                default:
                    if (chunk.IsCritical)
                    {
                        throw new ImageFormatException($"the PNG has a chunk {chunk.Type} that is not known here");
                    }

                    break;
            }
        }

        if (packed.Length == 0)
        {
            throw new ImageFormatException("the PNG has no pixels: no IDAT chunk");
        }

        if (layout.ColourType == PngColour.Palette && palette is null)
        {
            throw new ImageFormatException("the PNG uses a palette and has no PLTE chunk");
        }

        // a header may claim any size: nothing is allocated for pixels that the data cannot hold
        if (layout.RawBytes() > (packed.Length * MaxDeflateRatio) + 1024)
        {
            throw new ImageFormatException($"the PNG is cut short: {packed.Length} bytes of packed data cannot hold {layout.WidthPixels} × {layout.HeightPixels} pixels");
        }

        packed.Position = 0;
        using var zlib = new ZLibStream(packed, CompressionMode.Decompress);
        try
        {
            return ReadPixels(zlib, layout, palette);
        }
        catch (InvalidDataException exception)
        {
            throw new ImageFormatException("the PNG is damaged: its pixels cannot be unpacked", exception);
        }
    }

    private static PngLayout ReadHeader(ReadOnlySpan<byte> file, ref int at)
    {
        PngChunk chunk = PngChunks.Read(file, ref at);
        if (chunk is not { Type: "IHDR", Length: 13 })
        {
            throw new ImageFormatException($"the PNG does not begin with an IHDR chunk of 13 bytes but with {chunk.Type} of {chunk.Length}");
        }

        ReadOnlySpan<byte> data = chunk.Data(file);
        uint width = BinaryPrimitives.ReadUInt32BigEndian(data);
        uint height = BinaryPrimitives.ReadUInt32BigEndian(data[4..]);
        if (width is 0 or > int.MaxValue || height is 0 or > int.MaxValue)
        {
            throw new ImageFormatException($"the PNG says it has {width} × {height} pixels");
        }

        (int depth, int colour) = (data[8], data[9]);
        bool good = colour switch
        {
            0 => depth is 1 or 2 or 4 or 8 or 16,
            3 => depth is 1 or 2 or 4 or 8,
            2 or 4 or 6 => depth is 8 or 16,
            _ => false,
        };
        if (!good || data[10] != 0 || data[11] != 0 || data[12] > 1)
        {
            throw new ImageFormatException($"the PNG's kind is unknown: {depth} bits, colour type {colour}, compression {data[10]}, filter {data[11]}, interlacing {data[12]}");
        }

        return new PngLayout((int)width, (int)height, depth, (PngColour)colour, data[12] == 1);
    }

    /// <summary>APNG announces itself before the pixels.</summary>
    private static bool IsAnimated(ReadOnlySpan<byte> file, int at)
    {
        while (file.Length - at >= PngChunks.OverheadBytes)
        {
            PngChunk chunk = PngChunks.Read(file, ref at);
            if (chunk.Type is "IDAT" or "IEND")
            {
                return false;
            }

            if (chunk.Type == "acTL")
            {
                return true;
            }
        }

        return false;
    }

    /// <summary>Entries that the file leaves out are Pillow's: a ramp of grey.</summary>
    private static byte[] ReadPalette(ReadOnlySpan<byte> data)
    {
        if (data.Length is 0 or > 768 || data.Length % 3 != 0)
        {
            throw new ImageFormatException($"the PNG's palette has {data.Length} bytes; it should have 3 for each of 1 to 256 colours");
        }

        var palette = new byte[768];
        for (int i = 0; i < palette.Length; i++)
        {
            palette[i] = (byte)(i / 3);
        }

        data.CopyTo(palette);
        return palette;
    }

    private static RgbImage ReadPixels(Stream raw, PngLayout layout, byte[]? palette)
    {
        var image = new RgbImage(layout.WidthPixels, layout.HeightPixels);
        byte[] rgb = new byte[image.StrideBytes];
        foreach (PngPass pass in layout.Passes())
        {
            int stride = layout.RowBytes(pass.Width);
            byte[] above = new byte[stride];
            byte[] row = new byte[stride + 1]; // the filter's number stands before the samples
            for (int y = 0; y < pass.Height; y++)
            {
                if (raw.ReadAtLeast(row, row.Length, throwOnEndOfStream: false) < row.Length)
                {
                    throw new ImageFormatException($"the PNG is cut short: its pixels end in row {y} of {pass.Height}");
                }

                if (row[0] >= PngFilters.Count)
                {
                    throw new ImageFormatException($"the PNG is damaged: row {y} has the filter {row[0]}, which there is not");
                }

                Span<byte> samples = row.AsSpan(1);
                PngFilters.Undo(row[0], samples, above, layout.FilterDistance);
                Span<byte> target = image.Row(pass.Top + (y * pass.StepY));
                if (pass.StepX == 1)
                {
                    PngSamples.ToRgb(samples, pass.Width, layout, palette, target);
                }
                else
                {
                    PngSamples.ToRgb(samples, pass.Width, layout, palette, rgb);
                    for (int x = 0; x < pass.Width; x++)
                    {
                        rgb.AsSpan(x * 3, 3).CopyTo(target[((pass.Left + (x * pass.StepX)) * 3)..]);
                    }
                }

                samples.CopyTo(above);
            }
        }

        // the stream's own checksum is looked at when its end is read; more data than pixels are passed over, as libpng does
        Span<byte> rest = stackalloc byte[256];
        _ = raw.Read(rest);
        return image;
    }
}

internal enum PngColour
{
    Grey = 0,
    Rgb = 2,
    Palette = 3,
    GreyAlpha = 4,
    RgbAlpha = 6,
}

/// <summary>Every StepX-th pixel of every StepY-th row from Left, Top: a whole picture, or one of Adam7's seven.</summary>
internal readonly record struct PngPass(int Left, int Top, int StepX, int StepY, int Width, int Height);

/// <summary>What IHDR says.</summary>
internal readonly record struct PngLayout(int WidthPixels, int HeightPixels, int Depth, PngColour ColourType, bool Interlaced)
{
    private static readonly (int Left, int Top, int StepX, int StepY)[] Adam7 =
        [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)];

    public int SamplesPerPixel => ColourType switch
    {
        PngColour.Rgb => 3,
        PngColour.GreyAlpha => 2,
        PngColour.RgbAlpha => 4,
        _ => 1,
    };

    /// <summary>Bytes to the sample on the left that filters look at; at least 1.</summary>
    public int FilterDistance => Math.Max(1, SamplesPerPixel * Depth / 8);

    public int RowBytes(int widthPixels) => checked((int)((((long)widthPixels * SamplesPerPixel * Depth) + 7) / 8));

    public IEnumerable<PngPass> Passes()
    {
        if (!Interlaced)
        {
            yield return new PngPass(0, 0, 1, 1, WidthPixels, HeightPixels);
            yield break;
        }

        foreach ((int left, int top, int stepX, int stepY) in Adam7)
        {
            int width = (WidthPixels - left + stepX - 1) / stepX;
            int height = (HeightPixels - top + stepY - 1) / stepY;
            if (width > 0 && height > 0)
            {
                yield return new PngPass(left, top, stepX, stepY, width, height);
            }
        }
    }

    /// <summary>Unpacked bytes: rows, each with its filter's number.</summary>
    public long RawBytes()
    {
        long bytes = 0;
        foreach (PngPass pass in Passes())
        {
            bytes += (RowBytes(pass.Width) + 1L) * pass.Height;
        }

        return bytes;
    }
}
