using System.Buffers.Binary;

namespace MetaQuery.Imaging;

/// <summary>The outer layer of a WebP file (RFC 9649).</summary>
internal static class WebpChunks
{
    private const int RiffHeaderBytes = 12;
    private const byte AnimationFlag = 0x02;

    public static ImageHeader Identify(ReadOnlySpan<byte> file)
    {
        if (file.Length < RiffHeaderBytes + 18)
        {
            throw new ImageFormatException($"the WebP is cut short: it has {file.Length} bytes");
        }

        ReadOnlySpan<byte> type = file.Slice(RiffHeaderBytes, 4);
        ReadOnlySpan<byte> data = file[(RiffHeaderBytes + 8)..];
        if (type.SequenceEqual("VP8X"u8))
        {
            return new ImageHeader(ImageFormat.Webp, UInt24(data[4..]) + 1, UInt24(data[7..]) + 1, (data[0] & AnimationFlag) != 0);
        }

        if (type.SequenceEqual("VP8L"u8) && data[0] == 0x2F)
        {
            uint bits = BinaryPrimitives.ReadUInt32LittleEndian(data[1..]);
            return new ImageHeader(ImageFormat.Webp, (int)(bits & 0x3FFF) + 1, (int)((bits >> 14) & 0x3FFF) + 1, IsAnimated: false);
        }

        if (type.SequenceEqual("VP8 "u8) && data[3..].StartsWith((ReadOnlySpan<byte>)[0x9D, 0x01, 0x2A]))
        {
            int width = BinaryPrimitives.ReadUInt16LittleEndian(data[6..]) & 0x3FFF;
            int height = BinaryPrimitives.ReadUInt16LittleEndian(data[8..]) & 0x3FFF;
            return width > 0 && height > 0
                ? new ImageHeader(ImageFormat.Webp, width, height, IsAnimated: false)
                : throw new ImageFormatException($"the WebP says it has {width} × {height} pixels");
        }

        throw new ImageFormatException("the WebP's first chunk is not a picture's");
    }

    /// <summary>The outermost chunk says how long the file is.</summary>
    public static void RequireWhole(ReadOnlySpan<byte> file)
    {
        long expected = BinaryPrimitives.ReadUInt32LittleEndian(file[4..]) + 8L;
        if (expected > file.Length)
        {
            throw new ImageFormatException($"the WebP is cut short: it says it has {expected} bytes, {file.Length} are there");
        }
    }

    private static int UInt24(ReadOnlySpan<byte> bytes) => bytes[0] | (bytes[1] << 8) | (bytes[2] << 16);
}
