namespace MetaQuery.Imaging;

/// <summary>The file formats read and written here.</summary>
public enum ImageFormat
{
    Png,
    Jpeg,
    Webp,
}

/// <summary>A keyword and a text that travel inside a picture file.</summary>
/// <param name="Keyword">1 to 79 printable Latin-1 characters, no leading, trailing or doubled space (PNG 1.2, 11.3.4.2).</param>
/// <param name="Text">Any Unicode text without NUL.</param>
public sealed record ImageText(string Keyword, string Text);

/// <summary>Writes a picture in the format asked for.</summary>
public static class ImageEncoder
{
    /// <summary>JPEG's and WebP's quality where none is given.</summary>
    public const int DefaultQuality = 90;

    /// <summary>The file name extension without its dot, as in WebDataset: png, jpg, webp.</summary>
    public static string Extension(ImageFormat format) => format switch
    {
        ImageFormat.Png => "png",
        ImageFormat.Jpeg => "jpg",
        ImageFormat.Webp => "webp",
        _ => throw new ArgumentOutOfRangeException(nameof(format), $"{format} is not a picture format known here"),
    };

    /// <summary>The format that a name stands for: png, jpg, jpeg, webp, with or without a dot, any case; null for another.</summary>
    public static ImageFormat? Parse(string name) => name.TrimStart('.').ToLowerInvariant() switch
    {
        "png" => ImageFormat.Png,
        "jpg" or "jpeg" => ImageFormat.Jpeg,
        "webp" => ImageFormat.Webp,
        _ => null,
    };

    /// <summary>Encodes; the same picture, settings and <see cref="Identity"/> give the same bytes.</summary>
    /// <param name="image">The picture.</param>
    /// <param name="format">The format.</param>
    /// <param name="quality">0 to 100; PNG has none.</param>
    /// <param name="texts">Written into PNG only.</param>
    public static byte[] Encode(RgbImage image, ImageFormat format, int quality = DefaultQuality, IReadOnlyList<ImageText>? texts = null) => format switch
    {
        ImageFormat.Png => PngEncoder.Encode(image, texts),
        ImageFormat.Jpeg => JpegEncoder.Encode(image, quality),
        ImageFormat.Webp => WebpEncoder.Encode(image, quality),
        _ => throw new ArgumentOutOfRangeException(nameof(format), $"{format} is not a picture format known here"),
    };

    /// <summary>What the bytes of <see cref="Encode"/> depend on besides the picture: belongs into a job's manifest.</summary>
    public static string Identity(ImageFormat format, int quality = DefaultQuality) => format switch
    {
        ImageFormat.Png => PngEncoder.Identity,
        ImageFormat.Jpeg => JpegEncoder.Identity(quality),
        ImageFormat.Webp => WebpEncoder.Identity(quality),
        _ => throw new ArgumentOutOfRangeException(nameof(format), $"{format} is not a picture format known here"),
    };
}
