using MetaQuery.Farm;
using MetaQuery.Imaging;
using Microsoft.Extensions.Caching.Memory;

namespace MetaQuery.Silo.Web;

/// <summary>Small copies of pictures, for galleries: JPEG, no side longer than <see cref="LongestSidePixels"/>. A picture that is no larger stands for itself.</summary>
internal sealed class Thumbnails : IDisposable
{
    public const int LongestSidePixels = 256;

    private const int Quality = 85;
    private const long CachedBytes = 32L << 20;

    private readonly MemoryCache _made = new(new MemoryCacheOptions { SizeLimit = CachedBytes });

    // a page of a gallery asks for a hundred at once: they must not take every core and a decoded picture's memory each
    private readonly SemaphoreSlim _making = new(Math.Max(1, Environment.ProcessorCount / 2));

    /// <param name="sha256">Of the picture, lower-case hex: the same picture has the same copy.</param>
    public async Task<(ReadOnlyMemory<byte> Image, string MediaType)> OfAsync(SampleContent content, string sha256, CancellationToken cancellationToken)
    {
        if (IsSmall(content.Image.Span))
        {
            return (content.Image, content.MediaType);
        }

        if (_made.TryGetValue(sha256, out byte[]? known))
        {
            return (known, "image/jpeg");
        }

        await _making.WaitAsync(cancellationToken);
        try
        {
            byte[] made = _made.TryGetValue(sha256, out known) ? known! : Shrink(content.Image.Span);
            _made.Set(sha256, made, new MemoryCacheEntryOptions { Size = made.Length });
            return (made, "image/jpeg");
        }
        finally
        {
            _making.Release();
        }
    }

    public void Dispose()
    {
        _made.Dispose();
        _making.Dispose();
    }

    // one that cannot be read is not made smaller either: whoever shows it finds out as with the picture itself
    private static bool IsSmall(ReadOnlySpan<byte> file)
    {
        try
        {
            ImageHeader header = ImageDecoder.Identify(file);
            return Math.Max(header.WidthPixels, header.HeightPixels) <= LongestSidePixels;
        }
        catch (ImageFormatException)
        {
            return true;
        }
    }

    internal static byte[] Shrink(ReadOnlySpan<byte> file)
    {
        RgbImage image = ImageDecoder.Decode(file);
        double scale = (double)LongestSidePixels / Math.Max(image.WidthPixels, image.HeightPixels);
        return ImageEncoder.Encode(PillowResize.Resize(image, Side(image.WidthPixels), Side(image.HeightPixels), ResampleFilter.Bicubic), ImageFormat.Jpeg, Quality);

        int Side(int pixels) => Math.Max(1, (int)Math.Round(pixels * scale));
    }
}
