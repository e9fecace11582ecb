using System.Buffers;
using System.Buffers.Binary;
using System.Text;

namespace MetaQuery.Imaging;

/// <summary>
/// Writes PNG: 8-bit RGB, not interlaced, the filter of each row chosen by the least sum of absolute differences (PNG 1.2, 12.8).
/// The bytes depend on the picture and the texts alone, on every processor and every version of .NET.
/// </summary>
public static class PngEncoder
{
    private const int BytesPerPixel = 3;
    private const int MaxChunkBytes = 1 << 20; // of IDAT: readers need not hold a large picture's data at once

    [ThreadStatic]
    private static ZlibEncoder? t_zlib;

    /// <summary>Changes with every change of the bytes that the same picture gives.</summary>
    public static string Identity => "png/1";

    /// <param name="image">The picture.</param>
    /// <param name="texts">Written before the pixels, in this order: tEXt, or iTXt where the text is not Latin-1.</param>
    /// <exception cref="ArgumentException">A keyword or a text that PNG cannot hold.</exception>
    public static byte[] Encode(RgbImage image, IReadOnlyList<ImageText>? texts = null)
    {
        ArgumentNullException.ThrowIfNull(image);
        using var stream = new MemoryStream((image.Pixels.Length / 2) + 1024);
        stream.Write(PngChunks.Signature);
        WriteHeader(stream, image);
        foreach (ImageText text in texts ?? [])
        {
            PngText.Write(stream, text);
        }

        byte[] filtered = ArrayPool<byte>.Shared.Rent(checked((image.StrideBytes + 1) * image.HeightPixels));
        try
        {
            int length = Filter(image, filtered);
            ZlibEncoder zlib = t_zlib ??= new ZlibEncoder();
            ReadOnlySpan<byte> packed = zlib.Encode(filtered.AsSpan(0, length));
            do
            {
                ReadOnlySpan<byte> piece = packed[..Math.Min(MaxChunkBytes, packed.Length)];
                PngChunks.Write(stream, "IDAT"u8, piece);
                packed = packed[piece.Length..];
            }
            while (!packed.IsEmpty);
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(filtered);
        }

        PngChunks.Write(stream, "IEND"u8, []);
        return stream.ToArray();
    }

    private static void WriteHeader(MemoryStream stream, RgbImage image)
    {
        Span<byte> header = stackalloc byte[13];
        BinaryPrimitives.WriteInt32BigEndian(header, image.WidthPixels);
        BinaryPrimitives.WriteInt32BigEndian(header[4..], image.HeightPixels);
        header[8] = 8; // bits per sample
        header[9] = 2; // RGB; deflate, adaptive filters and no interlacing are 0
        PngChunks.Write(stream, "IHDR"u8, header);
    }

    /// <returns>Bytes written: (stride + 1) × height.</returns>
    private static int Filter(RgbImage image, Span<byte> output)
    {
        int stride = image.StrideBytes;
        byte[] row = new byte[stride + BytesPerPixel];
        byte[] above = new byte[stride + BytesPerPixel];
        byte[] candidate = new byte[stride];
        int written = 0;
        for (int y = 0; y < image.HeightPixels; y++)
        {
            image.Row(y).CopyTo(row.AsSpan(BytesPerPixel));
            Span<byte> best = output.Slice(written + 1, stride);
            long least = long.MaxValue;
            for (int filter = 0; filter < PngFilters.Count; filter++)
            {
                PngFilters.Apply(filter, row, above, BytesPerPixel, candidate);
                long cost = PngFilters.Cost(candidate);
                if (cost < least)
                {
                    least = cost;
                    output[written] = (byte)filter;
                    candidate.CopyTo(best);
                }
            }

            written += stride + 1;
            (row, above) = (above, row);
        }

        return written;
    }
}
