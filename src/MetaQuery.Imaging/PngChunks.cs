using System.Buffers.Binary;

namespace MetaQuery.Imaging;

/// <summary>The outer layer of a PNG file: signature, chunks, their checksums (PNG 1.2, section 5).</summary>
internal static class PngChunks
{
    public static ReadOnlySpan<byte> Signature => [0x89, (byte)'P', (byte)'N', (byte)'G', 0x0D, 0x0A, 0x1A, 0x0A];

    /// <summary>A chunk's overhead: length, type, checksum.</summary>
    public const int OverheadBytes = 12;

    /// <summary>Reads the chunk at <paramref name="at"/> and moves behind it.</summary>
    /// <exception cref="ImageFormatException">It is cut short or its checksum does not hold.</exception>
    public static PngChunk Read(ReadOnlySpan<byte> file, ref int at)
    {
        if (file.Length - at < 8)
        {
            throw new ImageFormatException($"the PNG is cut short: it ends at byte {file.Length}, before its IEND chunk");
        }

        uint length = BinaryPrimitives.ReadUInt32BigEndian(file[at..]);
        ReadOnlySpan<byte> type = file.Slice(at + 4, 4);
        foreach (byte letter in type)
        {
            if (!char.IsAsciiLetter((char)letter))
            {
                throw new ImageFormatException($"the PNG is damaged: no chunk's name stands at byte {at + 4}");
            }
        }

        PngChunk chunk = new(System.Text.Encoding.ASCII.GetString(type), at + 8, (int)Math.Min(length, int.MaxValue));
        if (length > file.Length - at - OverheadBytes)
        {
            throw new ImageFormatException($"the PNG is cut short: its {chunk.Type} chunk needs {length} bytes, {Math.Max(0, file.Length - at - OverheadBytes)} are there");
        }

        uint stored = BinaryPrimitives.ReadUInt32BigEndian(file[(at + 8 + chunk.Length)..]);
        uint computed = Crc32(file.Slice(at + 4, 4 + chunk.Length));
        if (stored != computed)
        {
            throw new ImageFormatException($"the PNG is damaged: the checksum of its {chunk.Type} chunk at byte {at} is {computed:x8}, the file says {stored:x8}");
        }

        at += OverheadBytes + chunk.Length;
        return chunk;
    }

    /// <summary>Writes length, type, data, checksum.</summary>
    public static void Write(Stream stream, ReadOnlySpan<byte> type, ReadOnlySpan<byte> data)
    {
        Span<byte> word = stackalloc byte[4];
        BinaryPrimitives.WriteInt32BigEndian(word, data.Length);
        stream.Write(word);
        stream.Write(type);
        stream.Write(data);
        BinaryPrimitives.WriteUInt32BigEndian(word, Crc32(data, Crc32(type)));
        stream.Write(word);
    }

    /// <summary>CRC-32 of ISO 3309; <paramref name="before"/> is that of the bytes before these.</summary>
    public static uint Crc32(ReadOnlySpan<byte> bytes, uint before = 0)
    {
        // eight tables, eight bytes a step: 1 GB/s or more without the processor's own instructions
        uint crc = ~before;
        ReadOnlySpan<uint> tables = Tables;
        while (bytes.Length >= 8)
        {
            uint low = BinaryPrimitives.ReadUInt32LittleEndian(bytes) ^ crc;
            uint high = BinaryPrimitives.ReadUInt32LittleEndian(bytes[4..]);
            crc = tables[(7 * 256) + (int)(low & 0xFF)] ^ tables[(6 * 256) + (int)((low >> 8) & 0xFF)]
                ^ tables[(5 * 256) + (int)((low >> 16) & 0xFF)] ^ tables[(4 * 256) + (int)(low >> 24)]
                ^ tables[(3 * 256) + (int)(high & 0xFF)] ^ tables[(2 * 256) + (int)((high >> 8) & 0xFF)]
                ^ tables[256 + (int)((high >> 16) & 0xFF)] ^ tables[(int)(high >> 24)];
            bytes = bytes[8..];
        }

        foreach (byte value in bytes)
        {
            crc = tables[(int)((crc ^ value) & 0xFF)] ^ (crc >> 8);
        }

        return ~crc;
    }

    private static readonly uint[] Tables = MakeTables();

    private static uint[] MakeTables()
    {
        var tables = new uint[8 * 256];
        for (uint n = 0; n < 256; n++)
        {
            uint crc = n;
            for (int bit = 0; bit < 8; bit++)
            {
                crc = (crc & 1) != 0 ? 0xEDB88320 ^ (crc >> 1) : crc >> 1;
            }

            tables[n] = crc;
        }

        for (int table = 1; table < 8; table++)
        {
            for (int n = 0; n < 256; n++)
            {
                uint crc = tables[((table - 1) * 256) + n];
                tables[(table * 256) + n] = tables[crc & 0xFF] ^ (crc >> 8);
            }
        }

        return tables;
    }
}

/// <param name="Type">IHDR, IDAT and so on.</param>
/// <param name="DataStart">Where its data begin in the file.</param>
/// <param name="Length">Bytes of data.</param>
internal readonly record struct PngChunk(string Type, int DataStart, int Length)
{
    public ReadOnlySpan<byte> Data(ReadOnlySpan<byte> file) => file.Slice(DataStart, Length);

    /// <summary>A chunk without which a picture cannot be understood: its first letter is a capital.</summary>
    public bool IsCritical => char.IsAsciiLetterUpper(Type[0]);
}
