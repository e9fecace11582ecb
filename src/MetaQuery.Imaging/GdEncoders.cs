using System.Security.Cryptography;

namespace MetaQuery.Imaging;

/// <summary>Writes baseline JPEG by libgd: chroma 4:2:0 below quality 90, 4:4:4 from 90 on.</summary>
public static class JpegEncoder
{
    /// <param name="image">The picture.</param>
    /// <param name="quality">0 to 100.</param>
    /// <exception cref="ImageLibraryException">libgd is missing or refuses.</exception>
    public static byte[] Encode(RgbImage image, int quality = ImageEncoder.DefaultQuality) => GdLibrary.Instance.EncodeJpeg(image, quality);

    /// <summary>Names what libgd and its libjpeg do at this quality, by the hash of a test picture: a version that gives other bytes has another name.</summary>
    public static string Identity(int quality) => GdProbe.Identity("jpeg/1", quality, Encode);
}

/// <summary>Writes lossy WebP by libgd, chroma 4:2:0.</summary>
public static class WebpEncoder
{
    /// <summary>The longest side that the format has.</summary>
    public const int MaxSidePixels = 16_383;

    /// <param name="image">The picture.</param>
    /// <param name="quality">0 to 100.</param>
    /// <exception cref="ArgumentException">The picture is larger than the format allows.</exception>
    /// <exception cref="ImageLibraryException">libgd is missing or refuses.</exception>
    public static byte[] Encode(RgbImage image, int quality = ImageEncoder.DefaultQuality)
    {
        ArgumentNullException.ThrowIfNull(image);
        return image.WidthPixels <= MaxSidePixels && image.HeightPixels <= MaxSidePixels
            ? GdLibrary.Instance.EncodeWebp(image, quality)
            : throw new ArgumentException($"WebP holds at most {MaxSidePixels} pixels a side, the picture has {image.WidthPixels} × {image.HeightPixels}", nameof(image));
    }

    /// <inheritdoc cref="JpegEncoder.Identity"/>
    public static string Identity(int quality) => GdProbe.Identity("webp/1", quality, Encode);
}

internal static class GdProbe
{
    public static string Identity(string name, int quality, Func<RgbImage, int, byte[]> encode)
    {
        // slopes, edges and something like noise: every stage of an encoder has work
        var image = new RgbImage(48, 40);
        for (int i = 0; i < image.Pixels.Length; i++)
        {
            int pixel = i / 3;
            int noise = (int)(((uint)i * 2654435761u) >> 28);
            image.Pixels[i] = (byte)((pixel % 48 * 5) + noise + (pixel / 48 > 20 && i % 3 == 0 ? 90 : 0));
        }

        return $"{name} quality={quality} probe={Convert.ToHexStringLower(SHA256.HashData(encode(image, quality)).AsSpan(0, 6))}";
    }
}
