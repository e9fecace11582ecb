namespace MetaQuery.Imaging;

/// <summary>What a picture file's header says.</summary>
public sealed record ImageHeader(ImageFormat Format, int WidthPixels, int HeightPixels, bool IsAnimated);

/// <summary>Reads PNG, JPEG and WebP to RGB with the semantics of Pillow's <c>convert("RGB")</c>.</summary>
public static class ImageDecoder
{
    /// <summary>The most pixels decoded where the caller sets no limit: that of Pillow's bomb warning, 89,478,485.</summary>
    public const long DefaultMaxPixels = 1024L * 1024 * 1024 / 4 / 3;

    /// <summary>Reads the header alone.</summary>
    /// <exception cref="ImageFormatException">Not a PNG, JPEG or WebP, or the header is malformed.</exception>
    public static ImageHeader Identify(ReadOnlySpan<byte> file) => throw new NotImplementedException();

    /// <summary>Decodes a whole file.</summary>
    /// <param name="file">The file's bytes.</param>
    /// <param name="maxPixels">A picture of more pixels is refused before anything is decoded.</param>
    /// <exception cref="ImageFormatException">Malformed, truncated, animated or too large.</exception>
    /// <exception cref="ImageLibraryException">libgd is missing (JPEG and WebP).</exception>
    public static RgbImage Decode(ReadOnlySpan<byte> file, long maxPixels = DefaultMaxPixels) => throw new NotImplementedException();

    /// <summary>Decodes a file; messages name its path.</summary>
    /// <exception cref="ImageFormatException">Malformed, truncated, animated or too large.</exception>
    public static RgbImage DecodeFile(string path, long maxPixels = DefaultMaxPixels) => throw new NotImplementedException();
}
