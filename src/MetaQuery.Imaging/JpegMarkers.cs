using System.Buffers.Binary;

namespace MetaQuery.Imaging;

/// <summary>The outer layer of a JPEG file (ITU-T T.81, annex B): its size, and whether it reaches its end.</summary>
internal static class JpegMarkers
{
    private const byte StartOfScan = 0xDA;
    private const byte EndOfImage = 0xD9;

    public static ImageHeader Identify(ReadOnlySpan<byte> file)
    {
        int at = 2;
        while (Next(file, ref at) is byte marker)
        {
            ReadOnlySpan<byte> segment = Segment(file, marker, ref at);

            // SOF0 to SOF15 without DHT, JPG and DAC, which stand between them
            if (marker is >= 0xC0 and <= 0xCF and not (0xC4 or 0xC8 or 0xCC))
            {
                if (segment.Length < 6)
                {
                    throw new ImageFormatException("the JPEG's frame header is malformed");
                }

                int height = BinaryPrimitives.ReadUInt16BigEndian(segment[1..]);
                int width = BinaryPrimitives.ReadUInt16BigEndian(segment[3..]);
                return width > 0 && height > 0
                    ? new ImageHeader(ImageFormat.Jpeg, width, height, IsAnimated: false)
                    : throw new ImageFormatException($"the JPEG says it has {width} × {height} pixels");
            }

            if (marker is StartOfScan or EndOfImage)
            {
                break;
            }
        }

        throw new ImageFormatException("the JPEG has no frame header");
    }

    /// <summary>libjpeg invents an end where a file has none, and fills what is missing with grey: so the end marker is looked for first.</summary>
    public static void RequireWhole(ReadOnlySpan<byte> file)
    {
        int at = 2;
        bool scanned = false;
        while (Next(file, ref at) is byte marker)
        {
            if (marker == EndOfImage)
            {
                if (!scanned)
                {
                    throw new ImageFormatException("the JPEG ends before its pixels");
                }

                return;
            }

            Segment(file, marker, ref at);
            if (marker == StartOfScan)
            {
                scanned = true;
                SkipScan(file, ref at);
            }
        }

        throw new ImageFormatException($"the JPEG is cut short: it ends at byte {file.Length}, before its end marker");
    }

    /// <summary>The next marker; fill bytes and stray bytes before it are passed over, as libjpeg does.</summary>
    private static byte? Next(ReadOnlySpan<byte> file, ref int at)
    {
        while (at < file.Length)
        {
            int found = file[at..].IndexOf((byte)0xFF);
            if (found < 0 || at + found + 1 >= file.Length)
            {
                break;
            }

            at += found + 1;
            byte marker = file[at];
            if (marker is not (0x00 or 0xFF))
            {
                at++;
                return marker;
            }
        }

        at = file.Length;
        return null;
    }

    /// <summary>The segment of a marker without its length; empty for the markers that stand alone.</summary>
    private static ReadOnlySpan<byte> Segment(ReadOnlySpan<byte> file, byte marker, ref int at)
    {
        if (marker is 0x01 or (>= 0xD0 and <= 0xD9))
        {
            return [];
        }

        int length = file.Length - at >= 2 ? BinaryPrimitives.ReadUInt16BigEndian(file[at..]) : 0;
        if (length < 2 || length > file.Length - at)
        {
            throw new ImageFormatException($"the JPEG is cut short: the segment 0x{marker:X2} at byte {at} needs {length} bytes, {file.Length - at} are there");
        }

        ReadOnlySpan<byte> segment = file.Slice(at + 2, length - 2);
        at += length;
        return segment;
    }

    /// <summary>Entropy-coded data: 0xFF is followed by 0x00 there, or by a restart marker.</summary>
    private static void SkipScan(ReadOnlySpan<byte> file, ref int at)
    {
        while (at < file.Length)
        {
            int found = file[at..].IndexOf((byte)0xFF);
            if (found < 0 || at + found + 1 >= file.Length)
            {
                at = file.Length;
                return;
            }

            at += found;
            if (file[at + 1] is not (0x00 or 0xFF or (>= 0xD0 and <= 0xD7)))
            {
                return;
            }

            at += file[at + 1] == 0xFF ? 1 : 2;
        }
    }
}
