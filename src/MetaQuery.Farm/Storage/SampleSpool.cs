using System.Buffers.Binary;
using System.Security.Cryptography;
using MetaQuery.Data;

namespace MetaQuery.Farm;

/// <summary>What a spool holds of one sample.</summary>
internal enum SpoolKind : byte { Sample = 1, Failure = 2 }

/// <summary>The samples of one unfinished shard, in the order they were made: append-only, checksummed.</summary>
/// <remarks>
/// A record is <c>MQSP</c>, version (1 byte, 1), kind (1 byte), two zero bytes, position (int64), three lengths (int32 each), the three
/// parts (a sample's image, caption and json; a failure's text and two empty ones), and the first 16 bytes of the SHA-256 of all that.
/// Little-endian. What follows the first record that is torn or damaged is cut off and made again.
/// </remarks>
internal sealed class SampleSpool : IDisposable
{
    private const int HeaderBytes = 28;
    private const int ChecksumBytes = 16;
    private const byte Version = 1;
    private static ReadOnlySpan<byte> Magic => "MQSP"u8;

    private readonly FileStream _stream;
    private readonly string _path;
    private readonly Dictionary<long, (SpoolKind Kind, long Offset)> _records = [];
    private long _length;
    private bool _isDirty;

    /// <param name="path">The spool's file; made where it is missing.</param>
    /// <param name="firstPosition">The shard's first position: a record outside the shard is damage.</param>
    /// <param name="count">The shard's number of positions.</param>
    /// <exception cref="StorageException">It cannot be opened or read.</exception>
    public SampleSpool(string path, long firstPosition, long count)
    {
        _path = path;
        try
        {
            _stream = new FileStream(path, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.Read, bufferSize: 0);
            try
            {
                Recover(firstPosition, count);
            }
            catch
            {
                _stream.Dispose();
                throw;
            }
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw StorageException.From(exception, path);
        }
    }

    /// <summary>Bytes cut off when the spool was opened: a torn or damaged tail.</summary>
    public long CutBytes { get; private set; }

    public int Count => _records.Count;

    public int FailureCount { get; private set; }

    public IEnumerable<long> Positions => _records.Keys;

    /// <summary>What is held for a position; null for nothing.</summary>
    public SpoolKind? KindOf(long position) => _records.TryGetValue(position, out (SpoolKind Kind, long) record) ? record.Kind : null;

    /// <summary>Appends a record; the first one for a position stays.</summary>
    /// <returns>Whether it was new.</returns>
    public bool Append(SpoolKind kind, long position, ReadOnlySpan<byte> first, ReadOnlySpan<byte> second, ReadOnlySpan<byte> third)
    {
        if (_records.ContainsKey(position))
        {
            return false;
        }

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
        try
        {
            _stream.Position = _length;
            _stream.Write(record);
        }
        catch (IOException exception)
        {
            throw StorageException.From(exception, _path);
        }

        Remember(kind, position, _length);
        _length += record.Length;
        _isDirty = true;
        return true;
    }

    /// <summary>Reads a record's three parts back, checking its checksum again.</summary>
    public (byte[] First, byte[] Second, byte[] Third) Read(long position)
    {
        (SpoolKind kind, long offset) = _records[position];
        if (TryRead(offset, out SpoolKind readKind, out long readPosition, out byte[] record, out int[] lengths)
            && readKind == kind && readPosition == position)
        {
            int second = HeaderBytes + lengths[0];
            int third = second + lengths[1];
            return (record[HeaderBytes..second], record[second..third], record[third..(third + lengths[2])]);
        }

        throw new StorageException(StorageFault.Other, $"{_path}: the record of sample {position} was damaged since it was written; run the job again to make it again");
    }

    /// <summary>Syncs what was appended.</summary>
    public void Flush()
    {
        if (!_isDirty)
        {
            return;
        }

        try
        {
            _stream.Flush(flushToDisk: true);
        }
        catch (IOException exception)
        {
            throw StorageException.From(exception, _path);
        }

        _isDirty = false;
    }

    public void Dispose() => _stream.Dispose();

    private void Recover(long firstPosition, long count)
    {
        long end = 0;
        while (TryRead(end, out SpoolKind kind, out long position, out byte[] record, out _)
            && position >= firstPosition && position < firstPosition + count)
        {
            Remember(kind, position, end);
            end += record.Length;
        }

        CutBytes = _stream.Length - end;
        _length = end;
        if (CutBytes > 0)
        {
            _stream.SetLength(end);
        }
    }

    private bool TryRead(long offset, out SpoolKind kind, out long position, out byte[] record, out int[] lengths)
    {
        kind = default;
        position = 0;
        record = [];
        lengths = [];
        long rest = _stream.Length - offset;
        if (rest < HeaderBytes + ChecksumBytes)
        {
            return false;
        }

        Span<byte> header = stackalloc byte[HeaderBytes];
        _stream.Position = offset;
        _stream.ReadExactly(header);
        kind = (SpoolKind)header[5];
        position = BinaryPrimitives.ReadInt64LittleEndian(header[8..]);
        lengths =
        [
            BinaryPrimitives.ReadInt32LittleEndian(header[16..]), BinaryPrimitives.ReadInt32LittleEndian(header[20..]),
            BinaryPrimitives.ReadInt32LittleEndian(header[24..]),
        ];
        long recordBytes = HeaderBytes + ChecksumBytes + (long)lengths[0] + lengths[1] + lengths[2];
        if (!header[..4].SequenceEqual(Magic) || header[4] != Version || kind is not (SpoolKind.Sample or SpoolKind.Failure)
            || lengths.Any(length => length < 0) || recordBytes > Math.Min(rest, Array.MaxLength))
        {
            return false;
        }

        record = new byte[recordBytes];
        header.CopyTo(record);
        _stream.ReadExactly(record.AsSpan(HeaderBytes));
        Span<byte> checksum = stackalloc byte[ChecksumBytes];
        Checksum(record.AsSpan(0, record.Length - ChecksumBytes), checksum);
        return record.AsSpan(record.Length - ChecksumBytes).SequenceEqual(checksum);
    }

    private void Remember(SpoolKind kind, long position, long offset)
    {
        if (_records.TryAdd(position, (kind, offset)) && kind == SpoolKind.Failure)
        {
            FailureCount++;
        }
    }

    private static void Checksum(ReadOnlySpan<byte> record, Span<byte> checksum)
    {
        Span<byte> sha256 = stackalloc byte[SHA256.HashSizeInBytes];
        SHA256.HashData(record, sha256);
        sha256[..ChecksumBytes].CopyTo(checksum);
    }
}
