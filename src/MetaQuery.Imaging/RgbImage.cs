namespace MetaQuery.Imaging;

/// <summary>A picture in memory: 8-bit RGB, rows top to bottom, interleaved.</summary>
public sealed class RgbImage
{
    /// <summary>The longest side that any part of this room handles.</summary>
    public const int MaxSidePixels = 65_535;

    /// <summary>A black picture.</summary>
    /// <exception cref="ArgumentOutOfRangeException">A side is not in 1 to <see cref="MaxSidePixels"/>, or the picture passes 2 GiB.</exception>
    public RgbImage(int widthPixels, int heightPixels)
        : this(widthPixels, heightPixels, new byte[ByteLength(widthPixels, heightPixels)])
    {
    }

    /// <summary>A picture over <paramref name="pixels"/>, which it keeps and does not copy.</summary>
    /// <param name="widthPixels">Width.</param>
    /// <param name="heightPixels">Height.</param>
    /// <param name="pixels">[height, width, 3], uint8.</param>
    /// <exception cref="ArgumentOutOfRangeException">A side is not in 1 to <see cref="MaxSidePixels"/>, or the picture passes 2 GiB.</exception>
    /// <exception cref="ArgumentException">The array's length is not width × height × 3.</exception>
    public RgbImage(int widthPixels, int heightPixels, byte[] pixels)
    {
        ArgumentNullException.ThrowIfNull(pixels);
        int expected = ByteLength(widthPixels, heightPixels);
        if (pixels.Length != expected)
        {
            throw new ArgumentException($"a picture of {widthPixels} × {heightPixels} pixels needs {expected} bytes, got {pixels.Length}", nameof(pixels));
        }

        WidthPixels = widthPixels;
        HeightPixels = heightPixels;
        Pixels = pixels;
    }

    public int WidthPixels { get; }

    public int HeightPixels { get; }

    /// <summary>[height, width, 3], uint8, RGB.</summary>
    public byte[] Pixels { get; }

    /// <summary>Bytes in a row: 3 × width.</summary>
    public int StrideBytes => WidthPixels * 3;

    /// <summary>Row <paramref name="y"/>: [width, 3].</summary>
    public Span<byte> Row(int y) => Pixels.AsSpan(checked(y * StrideBytes), StrideBytes);

    private static int ByteLength(int widthPixels, int heightPixels)
    {
        if (widthPixels is < 1 or > MaxSidePixels)
        {
            throw new ArgumentOutOfRangeException(nameof(widthPixels), $"a width of {widthPixels} pixels is not in 1 to {MaxSidePixels}");
        }

        if (heightPixels is < 1 or > MaxSidePixels)
        {
            throw new ArgumentOutOfRangeException(nameof(heightPixels), $"a height of {heightPixels} pixels is not in 1 to {MaxSidePixels}");
        }

        long bytes = (long)widthPixels * heightPixels * 3;
        if (bytes > Array.MaxLength)
        {
            throw new ArgumentOutOfRangeException(nameof(heightPixels), $"a picture of {widthPixels} × {heightPixels} pixels needs {bytes} bytes; the most is {Array.MaxLength}");
        }

        return (int)bytes;
    }
}
