namespace MetaQuery.Imaging;

/// <summary>Writes PNG: 8-bit RGB, adaptive filters, deterministic.</summary>
public static class PngEncoder
{
    public static string Identity => throw new NotImplementedException();

    /// <param name="image">The picture.</param>
    /// <param name="texts">tEXt chunks, or iTXt where the text is not Latin-1, in this order.</param>
    public static byte[] Encode(RgbImage image, IReadOnlyList<ImageText>? texts = null) => throw new NotImplementedException();
}

/// <summary>Writes baseline JPEG by libgd.</summary>
public static class JpegEncoder
{
    /// <param name="image">The picture.</param>
    /// <param name="quality">0 to 100.</param>
    public static byte[] Encode(RgbImage image, int quality = ImageEncoder.DefaultQuality) => throw new NotImplementedException();
}

/// <summary>Writes lossy WebP by libgd.</summary>
public static class WebpEncoder
{
    /// <param name="image">The picture.</param>
    /// <param name="quality">0 to 100.</param>
    public static byte[] Encode(RgbImage image, int quality = ImageEncoder.DefaultQuality) => throw new NotImplementedException();
}

internal static class GdLibrary
{
    public static string Identity => throw new NotImplementedException();
}
