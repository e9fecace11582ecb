using System.Buffers.Binary;
using System.Security.Cryptography;
using Microsoft.Win32.SafeHandles;

namespace MetaQuery.Farm;

/// <summary>What a spool holds of one sample.</summary>
internal enum SpoolKind : byte { Sample = 1, Failure = 2 }

/// <summary>A finished sample or a failure as it lies in a spool's file and in a worker's inbox file: checksummed.</summary>
/// <remarks>
/// <c>MQSP</c>, version (1 byte, 1), kind (1 byte), two zero bytes, position (int64), three lengths (int32 each), the three
/// parts (a sample's image, caption and json; a failure's text and two empty ones), and the first 16 bytes of the SHA-256 of all that.
/// Little-endian. Frozen by a test.
/// </remarks>
internal readonly struct SpoolRecord
{
    private const int HeaderBytes = 28;
    private const int ChecksumBytes = 16;
    private const byte Version = 1;
    private static ReadOnlySpan<byte> Magic => "MQSP"u8;

    private readonly byte[] _bytes;

    private SpoolRecord(byte[] bytes) => _bytes = bytes;

    public SpoolKind Kind => (SpoolKind)_bytes[5];

    public long Position => BinaryPrimitives.ReadInt64LittleEndian(_bytes.AsSpan(8));

    /// <summary>Of the whole record.</summary>
    public int ByteLength => _bytes.Length;

    public static byte[] Create(SpoolKind kind, long position, ReadOnlySpan<byte> first, ReadOnlySpan<byte> second, ReadOnlySpan<byte> third)
    {
        int payloadBytes = checked(first.Length + second.Length + third.Length);
        var record = new byte[HeaderBytes + payloadBytes + ChecksumBytes];
        Magic.CopyTo(record);
        record[4] = Version;
        record[5] = (byte)kind;
        BinaryPrimitives.WriteInt64LittleEndian(record.AsSpan(8), position);
        BinaryPrimitives.WriteInt32LittleEndian(record.AsSpan(16), first.Length);
        BinaryPrimitives.WriteInt32LittleEndian(record.AsSpan(20), second.Length);
        BinaryPrimitives.WriteInt32LittleEndian(record.AsSpan(24), third.Length);
        first.CopyTo(record.AsSpan(HeaderBytes));
        second.CopyTo(record.AsSpan(HeaderBytes + first.Length));
        third.CopyTo(record.AsSpan(HeaderBytes + first.Length + second.Length));
        Checksum(record.AsSpan(0, record.Length - ChecksumBytes), record.AsSpan(record.Length - ChecksumBytes));
        return record;
    }

    /// <summary>Reads the record that begins at an offset.</summary>
    /// <param name="file">Read at places, so that any number of readers may share it.</param>
    /// <param name="offset">Where it begins.</param>
    /// <param name="length">Bytes of the file that hold records.</param>
    /// <param name="record">The record.</param>
    /// <returns>False where it is torn, damaged or of a later version.</returns>
    public static bool TryRead(SafeFileHandle file, long offset, long length, out SpoolRecord record)
    {
        record = default;
        long rest = length - offset;
        if (offset < 0 || rest < HeaderBytes + ChecksumBytes)
        {
            return false;
        }

        Span<byte> header = stackalloc byte[HeaderBytes];
        if (!ReadExactly(file, header, offset))
        {
            return false;
        }

        int first = BinaryPrimitives.ReadInt32LittleEndian(header[16..]);
        int second = BinaryPrimitives.ReadInt32LittleEndian(header[20..]);
        int third = BinaryPrimitives.ReadInt32LittleEndian(header[24..]);
        long recordBytes = HeaderBytes + ChecksumBytes + (long)first + second + third;
        if (!header[..4].SequenceEqual(Magic) || header[4] != Version || (SpoolKind)header[5] is not (SpoolKind.Sample or SpoolKind.Failure)
            || first < 0 || second < 0 || third < 0 || recordBytes > Math.Min(rest, Array.MaxLength))
        {
            return false;
        }

        var bytes = new byte[recordBytes];
        header.CopyTo(bytes);
        if (!ReadExactly(file, bytes.AsSpan(HeaderBytes), offset + HeaderBytes))
        {
            return false;
        }

        Span<byte> checksum = stackalloc byte[ChecksumBytes];
        Checksum(bytes.AsSpan(0, bytes.Length - ChecksumBytes), checksum);
        record = new SpoolRecord(bytes);
        return bytes.AsSpan(bytes.Length - ChecksumBytes).SequenceEqual(checksum);
    }

    public (byte[] First, byte[] Second, byte[] Third) Parts()
    {
        int second = HeaderBytes + BinaryPrimitives.ReadInt32LittleEndian(_bytes.AsSpan(16));
        int third = second + BinaryPrimitives.ReadInt32LittleEndian(_bytes.AsSpan(20));
        return (_bytes[HeaderBytes..second], _bytes[second..third], _bytes[third..^ChecksumBytes]);
    }

    private static bool ReadExactly(SafeFileHandle file, Span<byte> bytes, long offset)
    {
        while (bytes.Length > 0)
        {
            int read = RandomAccess.Read(file, bytes, offset);
            if (read == 0)
            {
                return false;
            }

            bytes = bytes[read..];
            offset += read;
        }

        return true;
    }

    private static void Checksum(ReadOnlySpan<byte> record, Span<byte> checksum)
    {
        Span<byte> sha256 = stackalloc byte[SHA256.HashSizeInBytes];
        SHA256.HashData(record, sha256);
        sha256[..ChecksumBytes].CopyTo(checksum);
    }
}
