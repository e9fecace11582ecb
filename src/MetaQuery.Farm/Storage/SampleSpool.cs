using MetaQuery.Data;
using Microsoft.Win32.SafeHandles;

namespace MetaQuery.Farm;

/// <summary>How a record was found.</summary>
internal enum SpoolRead { Nothing, Sound, Damaged }

/// <summary>The samples of one unfinished shard, in the order they were made: append-only, checksummed. Thread-safe.</summary>
/// <remarks>
/// Records are <see cref="SpoolRecord"/>s. What follows the first one that is torn or damaged is cut off and made again. Memory is 8 bytes a
/// position; the file is held open only while it is used (<see cref="Release"/>).
/// </remarks>
internal sealed class SampleSpool : IDisposable
{
    private readonly Lock _gate = new();
    private readonly string _path;
    private readonly Func<long, int> _indexOf;
    private readonly Func<int, long> _positionOf;
    private readonly long[] _places; // 0: nothing; n: a sample at n - 1; -n: a failure at n - 1
    private SafeFileHandle? _file;
    private long _length;
    private bool _isDirty;
    private bool _isNew;
    private bool _isDisposed;

    /// <param name="path">The spool's file; made where it is missing.</param>
    /// <param name="firstPosition">The shard's first position: a record outside the shard is damage.</param>
    /// <param name="count">The shard's number of positions.</param>
    /// <exception cref="StorageException">It cannot be opened or read.</exception>
    public SampleSpool(string path, long firstPosition, long count)
        : this(
            path, checked((int)count), index => firstPosition + index,
            position => position >= firstPosition && position < firstPosition + count ? (int)(position - firstPosition) : -1)
    {
    }

    /// <param name="path">The spool's file; made where it is missing.</param>
    /// <param name="positions">Those it may hold, ascending: a record of another is damage.</param>
    /// <exception cref="StorageException">It cannot be opened or read.</exception>
    public SampleSpool(string path, IReadOnlyList<long> positions)
        : this(path, positions.Count, index => positions[index], IndexIn(positions))
    {
    }

    private SampleSpool(string path, int count, Func<int, long> positionOf, Func<long, int> indexOf)
    {
        _path = path;
        (_positionOf, _indexOf) = (positionOf, indexOf);
        _places = new long[count];
        try
        {
            _isNew = !File.Exists(path);
            Recover(Handle());
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            _file?.Dispose();
            throw StorageException.From(exception, path);
        }
    }

    /// <summary>Bytes cut off when the spool was opened: a torn or damaged tail.</summary>
    public long CutBytes { get; private set; }

    public int Count { get; private set; }

    public int FailureCount { get; private set; }

    public bool IsFull => Count == _places.Length;

    /// <summary>Whether its file is held open.</summary>
    public bool IsOpen => _file is not null;

    /// <summary>Positions of one kind, ascending.</summary>
    public IReadOnlyList<long> Positions(SpoolKind kind)
    {
        lock (_gate)
        {
            var positions = new List<long>();
            for (int i = 0; i < _places.Length; i++)
            {
                if (_places[i] != 0 && KindAt(_places[i]) == kind)
                {
                    positions.Add(_positionOf(i));
                }
            }

            return positions;
        }
    }

    /// <summary>What is held for a position; null for nothing.</summary>
    public SpoolKind? KindOf(long position)
    {
        long place = Volatile.Read(ref _places[_indexOf(position)]);
        return place == 0 ? null : KindAt(place);
    }

    /// <summary>Appends a record; the first one for a position stays.</summary>
    /// <returns>Whether it was new.</returns>
    /// <exception cref="StorageException">It could not be written: nothing has changed.</exception>
    public bool Append(SpoolKind kind, long position, ReadOnlySpan<byte> first, ReadOnlySpan<byte> second, ReadOnlySpan<byte> third)
    {
        lock (_gate)
        {
            ObjectDisposedException.ThrowIf(_isDisposed, this);
            if (_places[_indexOf(position)] != 0)
            {
                return false;
            }

            byte[] record = SpoolRecord.Create(kind, position, first, second, third);
            try
            {
                RandomAccess.Write(Handle(), record, _length); // over what a write before it that failed has left
            }
            catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
            {
                throw StorageException.From(exception, _path);
            }

            Remember(kind, position, _length);
            _length += record.Length;
            _isDirty = true;
            return true;
        }
    }

    /// <summary>Lets a record go that was damaged since it was written, so that it can be appended again.</summary>
    public void Forget(long position)
    {
        lock (_gate)
        {
            ref long place = ref _places[_indexOf(position)];
            if (place != 0)
            {
                Count--;
                FailureCount -= KindAt(place) == SpoolKind.Failure ? 1 : 0;
                Volatile.Write(ref place, 0);
            }
        }
    }

    /// <summary>Reads a record's three parts back, checking its checksum again.</summary>
    /// <returns>Null where nothing is held for the position, or no more.</returns>
    /// <exception cref="StorageException">It cannot be read, or was damaged.</exception>
    public (byte[] First, byte[] Second, byte[] Third)? TryRead(long position) => Read(position, out (byte[], byte[], byte[]) parts) switch
    {
        SpoolRead.Nothing => null,
        SpoolRead.Sound => parts,
        _ => throw new StorageException(StorageFault.Other, $"{_path}: the record of sample {position} was damaged since it was written; it is made again before its shard is finished"),
    };

    /// <summary>As <see cref="TryRead"/>, for those who know what to do about damage.</summary>
    /// <exception cref="StorageException">It cannot be read.</exception>
    public SpoolRead Read(long position, out (byte[] First, byte[] Second, byte[] Third) parts)
    {
        parts = default;
        lock (_gate)
        {
            long place = _places[_indexOf(position)];
            if (place == 0 || _isDisposed)
            {
                return SpoolRead.Nothing;
            }

            try
            {
                using SafeFileHandle? opened = _file is null ? File.OpenHandle(_path) : null; // a look does not keep it open
                if (SpoolRecord.TryRead(_file ?? opened!, Math.Abs(place) - 1, _length, out SpoolRecord record) && record.Kind == KindAt(place) && record.Position == position)
                {
                    parts = record.Parts();
                    return SpoolRead.Sound;
                }
            }
            catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
            {
                throw StorageException.From(exception, _path);
            }

            return SpoolRead.Damaged;
        }
    }

    /// <summary>Syncs what was appended, and at the first time the file's name.</summary>
    /// <exception cref="StorageException">The disk refused.</exception>
    public void Flush()
    {
        lock (_gate)
        {
            if (!_isDirty || _isDisposed)
            {
                return;
            }

            try
            {
                RandomAccess.FlushToDisk(Handle());
            }
            catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
            {
                throw StorageException.From(exception, _path);
            }

            if (_isNew)
            {
                AtomicFile.SyncFolder(Path.GetDirectoryName(_path)!);
                _isNew = false;
            }

            _isDirty = false;
        }
    }

    /// <summary>Closes the file until it is used again, so that many spools need few open files.</summary>
    public void Release()
    {
        lock (_gate)
        {
            Flush();
            _file?.Dispose();
            _file = null;
        }
    }

    public void Dispose()
    {
        lock (_gate)
        {
            _isDisposed = true;
            _file?.Dispose();
            _file = null;
        }
    }

    private static Func<long, int> IndexIn(IReadOnlyList<long> positions)
    {
        var indexes = new Dictionary<long, int>();
        foreach (long position in positions)
        {
            indexes.Add(position, indexes.Count);
        }

        return position => indexes.GetValueOrDefault(position, -1);
    }

    private static SpoolKind KindAt(long place) => place > 0 ? SpoolKind.Sample : SpoolKind.Failure;

    private SafeFileHandle Handle() => _file ??= File.OpenHandle(_path, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.Read);

    private void Recover(SafeFileHandle file)
    {
        long length = RandomAccess.GetLength(file);
        while (SpoolRecord.TryRead(file, _length, length, out SpoolRecord record)
            && _indexOf(record.Position) >= 0)
        {
            Remember(record.Kind, record.Position, _length);
            _length += record.ByteLength;
        }

        CutBytes = length - _length;
        if (CutBytes > 0)
        {
            RandomAccess.SetLength(file, _length);
        }

        (_isDirty, _isNew) = (_length > 0, _isNew || _length > 0); // who appended it may have died before it was synced
    }

    private void Remember(SpoolKind kind, long position, long offset)
    {
        ref long place = ref _places[_indexOf(position)];
        if (place != 0)
        {
            return;
        }

        Count++;
        if (kind == SpoolKind.Failure)
        {
            FailureCount++;
        }

        Volatile.Write(ref place, kind == SpoolKind.Sample ? offset + 1 : -(offset + 1));
    }
}
