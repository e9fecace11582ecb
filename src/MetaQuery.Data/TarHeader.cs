using System.Text;

namespace MetaQuery.Data;

/// <summary>The 512-byte header of a regular file in POSIX.1-1988 ustar, with everything fixed that tells of time, person or machine.</summary>
internal static class TarHeader
{
    public const int BlockBytes = 512;

    /// <summary>tar's record: archives are padded to it, as GNU tar and Python's tarfile do.</summary>
    public const int RecordBytes = 20 * BlockBytes;

    public const int MaxNameBytes = 100;

    /// <summary>The size field holds eleven octal digits.</summary>
    public const long MaxFileBytes = (1L << 33) - 1;

    private const int Mode = 0x124; // 0444 octal, as webdataset's TarWriter
    private const long ModificationTime = 315_532_800; // 1980-01-01T00:00:00Z: GNU tar calls 1970 "implausibly old"

    private static ReadOnlySpan<byte> MagicAndVersion => "ustar\000"u8;

    public static void Write(Span<byte> block, ReadOnlySpan<byte> name, long byteLength)
    {
        block.Clear();
        name.CopyTo(block);
        Octal(block.Slice(100, 8), Mode);
        Octal(block.Slice(108, 8), 0); // user
        Octal(block.Slice(116, 8), 0); // group
        Octal(block.Slice(124, 12), byteLength);
        Octal(block.Slice(136, 12), ModificationTime);
        block[156] = (byte)'0'; // a regular file
        MagicAndVersion.CopyTo(block[257..]);
        Octal(block.Slice(329, 8), 0); // device numbers
        Octal(block.Slice(337, 8), 0);

        // the checksum's own field counts as eight spaces; six digits, NUL, space
        Octal(block.Slice(148, 7), Checksum(block));
        block[155] = (byte)' ';
    }

    /// <returns>False for a block of zeros, which ends the archive.</returns>
    /// <exception cref="ShardFormatException">Not a ustar header of a regular file.</exception>
    public static bool TryRead(ReadOnlySpan<byte> block, out string name, out long byteLength)
    {
        (name, byteLength) = ("", 0);
        if (!block.ContainsAnyExcept((byte)0))
        {
            return false;
        }

        if (ParseOctal(block.Slice(148, 8), "checksum") is long stored && stored != Checksum(block))
        {
            throw new ShardFormatException($"a header's checksum is {Checksum(block)}, its field says {stored}");
        }

        if (!block.Slice(257, 5).SequenceEqual("ustar"u8))
        {
            throw new ShardFormatException("a header is not ustar");
        }

        if (block[156] is not ((byte)'0' or 0))
        {
            throw new ShardFormatException($"an entry is of type '{(char)block[156]}'; shards hold regular files only");
        }

        if (block[345] != 0)
        {
            throw new ShardFormatException("a name is longer than 100 bytes");
        }

        ReadOnlySpan<byte> nameField = block[..MaxNameBytes];
        int end = nameField.IndexOf((byte)0);
        name = Encoding.UTF8.GetString(end < 0 ? nameField : nameField[..end]);
        byteLength = ParseOctal(block.Slice(124, 12), "size");
        return true;
    }

    private static long Checksum(ReadOnlySpan<byte> block)
    {
        long sum = 8 * ' ';
        for (int i = 0; i < BlockBytes; i++)
        {
            sum += i is >= 148 and < 156 ? 0 : block[i];
        }

        return sum;
    }

    /// <summary>Zero-padded, NUL at the end.</summary>
    private static void Octal(Span<byte> field, long value)
    {
        for (int i = field.Length - 2; i >= 0; i--)
        {
            field[i] = (byte)('0' + (value & 7));
            value >>= 3;
        }
    }

    private static long ParseOctal(ReadOnlySpan<byte> field, string what)
    {
        ReadOnlySpan<byte> digits = field.Trim((byte)' ').TrimEnd("\0 "u8);
        long value = 0;
        foreach (byte digit in digits)
        {
            if (digit is < (byte)'0' or > (byte)'7' || value > long.MaxValue >> 3)
            {
                throw new ShardFormatException($"a header's {what} is not an octal number");
            }

            value = (value << 3) | (long)(digit - '0');
        }

        return value;
    }
}
