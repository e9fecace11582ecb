namespace MetaQuery.Imaging;

/// <summary>What a picture file's header says.</summary>
public sealed record ImageHeader(ImageFormat Format, int WidthPixels, int HeightPixels, bool IsAnimated);

/// <summary>
/// Reads PNG, JPEG and WebP to RGB with the semantics of Pillow's <c>convert("RGB")</c>: alpha is dropped and not blended, palette transparency
/// and EXIF orientation are ignored, 16-bit grey is clipped at 255.
/// </summary>
/// <remarks>PNG is decoded here; JPEG and WebP by the system's libgd.</remarks>
public static class ImageDecoder
{
    /// <summary>The most pixels decoded where the caller sets no limit: that of Pillow's warning of a decompression bomb.</summary>
    public const long DefaultMaxPixels = 1024L * 1024 * 1024 / 4 / 3;

    /// <summary>Reads the header alone.</summary>
    /// <exception cref="ImageFormatException">Not a PNG, JPEG or WebP, or the header is malformed.</exception>
    public static ImageHeader Identify(ReadOnlySpan<byte> file) =>
        file.StartsWith(PngChunks.Signature) ? PngDecoder.Identify(file)
        : file.StartsWith((ReadOnlySpan<byte>)[0xFF, 0xD8, 0xFF]) ? JpegMarkers.Identify(file)
        : file.Length >= 12 && file.StartsWith("RIFF"u8) && file[8..].StartsWith("WEBP"u8) ? WebpChunks.Identify(file)
        : throw new ImageFormatException(file.IsEmpty ? "the file is empty" : "is not a PNG, JPEG or WebP file");

    /// <summary>Reads the header alone, and refuses what would not be decoded.</summary>
    /// <exception cref="ImageFormatException">Not a PNG, JPEG or WebP, malformed, animated or too large.</exception>
    public static ImageHeader IdentifyStill(ReadOnlySpan<byte> file, long maxPixels = DefaultMaxPixels)
    {
        ImageHeader header = Identify(file);
        if (header.IsAnimated)
        {
            throw new ImageFormatException($"the {header.Format} is animated; a still picture is needed");
        }

        long pixels = (long)header.WidthPixels * header.HeightPixels;
        return pixels <= maxPixels && header.WidthPixels <= RgbImage.MaxSidePixels && header.HeightPixels <= RgbImage.MaxSidePixels ? header
            : throw new ImageFormatException($"the picture has {header.WidthPixels} × {header.HeightPixels} pixels; at most {maxPixels} pixels and {RgbImage.MaxSidePixels} a side are read");
    }

    /// <summary>Decodes a whole file.</summary>
    /// <param name="file">The file's bytes.</param>
    /// <param name="maxPixels">A picture of more pixels is refused before anything is decoded.</param>
    /// <exception cref="ImageFormatException">Malformed, truncated, animated or too large.</exception>
    /// <exception cref="ImageLibraryException">libgd is missing (JPEG and WebP).</exception>
    public static RgbImage Decode(ReadOnlySpan<byte> file, long maxPixels = DefaultMaxPixels)
    {
        ImageHeader header = IdentifyStill(file, maxPixels);
        switch (header.Format)
        {
            case ImageFormat.Png:
                return PngDecoder.Decode(file);
            case ImageFormat.Jpeg:
                JpegMarkers.RequireWhole(file);
                return GdLibrary.Instance.Decode(file, header);
            default:
                WebpChunks.RequireWhole(file);
                return GdLibrary.Instance.Decode(file, header);
        }
    }

    /// <summary>Decodes a file; messages name its path.</summary>
    /// <exception cref="ImageFormatException">Missing, malformed, truncated, animated or too large.</exception>
    /// <exception cref="ImageLibraryException">libgd is missing (JPEG and WebP).</exception>
    public static RgbImage DecodeFile(string path, long maxPixels = DefaultMaxPixels)
    {
        byte[] file;
        try
        {
            file = File.ReadAllBytes(path);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw new ImageFormatException($"{path}: {exception.Message}", exception);
        }

        try
        {
            return Decode(file, maxPixels);
        }
        catch (ImageFormatException exception)
        {
            throw new ImageFormatException($"{path}: {exception.Message}", exception);
        }
    }
}
