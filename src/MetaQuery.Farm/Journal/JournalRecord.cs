using System.Buffers.Binary;
using System.Numerics;

namespace MetaQuery.Farm;

/// <summary>A journal's record as bytes. Version 1, frozen by a test.</summary>
/// <remarks>
/// <c>MJ</c>, version (1 byte, 1), kind (1 byte), payload length (int32), the number of the file's bytes that were synced
/// when it was written (int64), CRC-32C of all else (uint32), payload. Little-endian; kind 0 is a mark without payload that ends a compaction.
/// </remarks>
internal static class JournalRecord
{
    public const int HeaderBytes = 20;
    public const byte Version = 1;
    public const byte Mark = 0;
    private const int ChecksumOffset = 16;

    public static byte[] Encode(byte kind, ReadOnlySpan<byte> payload, long synced, byte version = Version)
    {
        var record = new byte[HeaderBytes + payload.Length];
        record[0] = (byte)'M';
        record[1] = (byte)'J';
        record[2] = version;
        record[3] = kind;
        BinaryPrimitives.WriteInt32LittleEndian(record.AsSpan(4), payload.Length);
        BinaryPrimitives.WriteInt64LittleEndian(record.AsSpan(8), synced);
        payload.CopyTo(record.AsSpan(HeaderBytes));
        BinaryPrimitives.WriteUInt32LittleEndian(record.AsSpan(ChecksumOffset), Checksum(record));
        return record;
    }

    /// <summary>Reads the record that begins at an offset.</summary>
    /// <param name="bytes">The whole file.</param>
    /// <param name="offset">Where it begins.</param>
    /// <param name="kind">The writer's own.</param>
    /// <param name="payloadBytes">They follow the header.</param>
    /// <param name="synced">Bytes of the file that were synced when it was written.</param>
    /// <returns>False where it is torn or damaged.</returns>
    public static bool TryDecode(byte[] bytes, long offset, out byte kind, out int payloadBytes, out long synced)
    {
        kind = 0;
        payloadBytes = 0;
        synced = 0;
        if (bytes.Length - offset < HeaderBytes || bytes[offset] != 'M' || bytes[offset + 1] != 'J')
        {
            return false;
        }

        ReadOnlySpan<byte> rest = bytes.AsSpan((int)offset);
        kind = rest[3];
        payloadBytes = BinaryPrimitives.ReadInt32LittleEndian(rest[4..]);
        synced = BinaryPrimitives.ReadInt64LittleEndian(rest[8..]);
        return payloadBytes is >= 0 and <= FarmJournal.MaxPayloadBytes && payloadBytes <= rest.Length - HeaderBytes
            && BinaryPrimitives.ReadUInt32LittleEndian(rest[ChecksumOffset..]) == Checksum(rest[..(HeaderBytes + payloadBytes)]);
    }

    /// <summary>CRC-32C (Castagnoli) of a record without its checksum.</summary>
    private static uint Checksum(ReadOnlySpan<byte> record) => ~Add(Add(uint.MaxValue, record[..ChecksumOffset]), record[HeaderBytes..]);

    private static uint Add(uint crc, ReadOnlySpan<byte> bytes)
    {
        for (; bytes.Length >= sizeof(ulong); bytes = bytes[sizeof(ulong)..])
        {
            crc = BitOperations.Crc32C(crc, BinaryPrimitives.ReadUInt64LittleEndian(bytes));
        }

        foreach (byte one in bytes)
        {
            crc = BitOperations.Crc32C(crc, one);
        }

        return crc;
    }
}
