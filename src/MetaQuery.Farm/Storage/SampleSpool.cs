using MetaQuery.Data;

namespace MetaQuery.Farm;

/// <summary>The samples of one unfinished shard, in the order they were made: append-only, checksummed.</summary>
/// <remarks>Records are <see cref="SpoolRecord"/>s. What follows the first one that is torn or damaged is cut off and made again.</remarks>
internal sealed class SampleSpool : IDisposable
{
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

        byte[] record = SpoolRecord.Create(kind, position, first, second, third);
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
        if (SpoolRecord.TryRead(_stream, offset, out SpoolRecord record) && record.Kind == kind && record.Position == position)
        {
            return record.Parts();
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
        while (SpoolRecord.TryRead(_stream, end, out SpoolRecord record)
            && record.Position >= firstPosition && record.Position < firstPosition + count)
        {
            Remember(record.Kind, record.Position, end);
            end += record.ByteLength;
        }

        CutBytes = _stream.Length - end;
        _length = end;
        if (CutBytes > 0)
        {
            _stream.SetLength(end);
        }
    }

    private void Remember(SpoolKind kind, long position, long offset)
    {
        if (_records.TryAdd(position, (kind, offset)) && kind == SpoolKind.Failure)
        {
            FailureCount++;
        }
    }
}
