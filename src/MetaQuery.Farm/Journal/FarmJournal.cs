using MetaQuery.Data;
using Microsoft.Win32.SafeHandles;

namespace MetaQuery.Farm;

/// <summary>Takes a journal's records in their order.</summary>
/// <param name="kind">The writer's own, 1 to 255.</param>
/// <param name="payload">What was written; valid during the call.</param>
public delegate void JournalReplay(byte kind, ReadOnlySpan<byte> payload);

/// <summary>An append-only log of records: checksummed, synced in groups, cut where a crash tore it.</summary>
/// <remarks>
/// A record is a <see cref="JournalRecord"/>.
/// What is appended lasts through the death of the process at once, and through a loss of power once <see cref="Flush"/> has returned.
/// A tail that a crash tore was never promised and is cut off. Damage to bytes that a later record states to have been synced is an
/// error: cutting there would lose what was promised.
/// Thread-safe. That only one process opens a journal is its owner's business (the data folder's lock).
/// </remarks>
public sealed class FarmJournal : IDisposable
{
    /// <summary>The largest payload.</summary>
    public const int MaxPayloadBytes = 1 << 26;

    private readonly Lock _appending = new();
    private readonly Lock _syncing = new();
    private readonly string _path;
    private SafeFileHandle _file;
    private long _length;
    private long _synced;
    private volatile Exception? _broken;
    private bool _isDisposed;

    private FarmJournal(string path, SafeFileHandle file)
    {
        _path = path;
        _file = file;
    }

    /// <summary>Bytes in the file.</summary>
    public long Bytes => Interlocked.Read(ref _length);

    /// <summary>Whether the disk refused in a way that leaves open what is on it: nothing more is written until <see cref="Compact"/> has written all anew.</summary>
    public bool IsBroken => _broken is not null;

    /// <summary>How often the disk was asked to sync.</summary>
    internal long Syncs { get; private set; }

    /// <summary>For tests: a disk that fails to sync.</summary>
    internal Action? BeforeSync { get; set; }

    /// <summary>Bytes cut off when it was opened: a torn tail.</summary>
    public long CutBytes { get; private set; }

    /// <summary>Opens a journal, or begins one, and hands out its records.</summary>
    /// <param name="path">Its file; the folder must exist.</param>
    /// <param name="replay">Called for each record, in order; null skips them.</param>
    /// <exception cref="JournalDamagedException">Records that had been promised are damaged, or a newer version wrote them.</exception>
    /// <exception cref="StorageException">It cannot be opened, read or cut.</exception>
    public static FarmJournal Open(string path, JournalReplay? replay)
    {
        string full = Path.GetFullPath(path);
        try
        {
            if (!File.Exists(full))
            {
                AtomicFile.WriteAllBytes(full, []); // syncs the folder: a new name lasts only then
            }

            var journal = new FarmJournal(full, File.OpenHandle(full, FileMode.Open, FileAccess.ReadWrite));
            try
            {
                journal.Recover(replay);
                return journal;
            }
            catch
            {
                journal._file.Dispose();
                throw;
            }
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw StorageException.From(exception, full);
        }
    }

    /// <summary>Appends a record. It lasts through the death of this process; <see cref="Flush"/> makes it last through a loss of power.</summary>
    /// <exception cref="StorageException">It could not be written; the journal is as before.</exception>
    public void Append(byte kind, ReadOnlySpan<byte> payload)
    {
        ThrowIfNoRecord(kind, payload.Length);
        lock (_appending)
        {
            ThrowIfUnusable();
            byte[] record = JournalRecord.Encode(kind, payload, Interlocked.Read(ref _synced));
            try
            {
                RandomAccess.Write(_file, record, _length);
            }
            catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
            {
                CutBack(exception);
                throw StorageException.From(exception, _path);
            }

            Interlocked.Add(ref _length, record.Length);
        }
    }

    /// <summary>Returns when everything appended before the call is on the disk. Callers that come while one syncs share the next sync.</summary>
    /// <exception cref="StorageException">The disk refused, and what that left behind is unknown: <see cref="IsBroken"/>.</exception>
    public void Flush()
    {
        long target = Interlocked.Read(ref _length);
        lock (_syncing)
        {
            ThrowIfUnusable();
            if (_synced >= target)
            {
                return;
            }

            Sync();
        }
    }

    /// <summary>Replaces all records by these, whole or not at all: a new file, synced, renamed over the old one. Appends wait meanwhile. Mends a broken journal.</summary>
    /// <param name="records">Each is written before the next one is asked for.</param>
    /// <exception cref="ArgumentOutOfRangeException">A kind or a size that <see cref="Append"/> would not take; the old records stand.</exception>
    /// <exception cref="StorageException">It could not be written; the old records stand.</exception>
    public void Compact(IEnumerable<(byte Kind, ReadOnlyMemory<byte> Payload)> records)
    {
        ArgumentNullException.ThrowIfNull(records);
        lock (_syncing)
        {
            lock (_appending)
            {
                ObjectDisposedException.ThrowIf(_isDisposed, this);
                long length = 0;
                try
                {
                    using (AtomicFile file = AtomicFile.Create(_path))
                    {
                        foreach ((byte kind, ReadOnlyMemory<byte> payload) in records)
                        {
                            ThrowIfNoRecord(kind, payload.Length);
                            Write(JournalRecord.Encode(kind, payload.Span, synced: 0));
                        }

                        Write(JournalRecord.Encode(JournalRecord.Mark, [], length)); // true as soon as the file has its name: damage before the mark is no torn tail
                        file.Commit();

                        void Write(byte[] record)
                        {
                            file.Stream.Write(record);
                            length += record.Length;
                        }
                    }

                    SafeFileHandle renewed = File.OpenHandle(_path, FileMode.Open, FileAccess.ReadWrite);
                    _file.Dispose();
                    _file = renewed;
                }
                catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
                {
                    throw StorageException.From(exception, _path);
                }

                Interlocked.Exchange(ref _length, length);
                Interlocked.Exchange(ref _synced, length);
                _broken = null;
            }
        }
    }

    /// <summary>Syncs, unless the disk has refused before, and closes.</summary>
    public void Dispose()
    {
        lock (_syncing)
        {
            lock (_appending)
            {
                if (_isDisposed)
                {
                    return;
                }

                _isDisposed = true;
                try
                {
                    if (_broken is null && _synced < _length)
                    {
                        Sync();
                    }
                }
                finally
                {
                    _file.Dispose();
                }
            }
        }
    }

    private void Sync()
    {
        long reached = Interlocked.Read(ref _length);
        Syncs++;
        try
        {
            BeforeSync?.Invoke();
            RandomAccess.FlushToDisk(_file);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            _broken = exception; // Linux marks the pages clean after a failed fsync: a second one would succeed and mean nothing
            throw StorageException.From(exception, _path);
        }

        Interlocked.Exchange(ref _synced, reached);
    }

    private static void ThrowIfNoRecord(byte kind, int payloadBytes)
    {
        ArgumentOutOfRangeException.ThrowIfZero(kind);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(payloadBytes, MaxPayloadBytes); // no reader would take it
    }

    private void CutBack(Exception cause)
    {
        try
        {
            RandomAccess.SetLength(_file, _length); // a part of a record, or whole records of a write that failed, must not come back
        }
        catch (IOException)
        {
            _broken = cause;
        }
    }

    private void ThrowIfUnusable()
    {
        ObjectDisposedException.ThrowIf(_isDisposed, this);
        if (_broken is not null)
        {
            throw StorageException.From(_broken, _path);
        }
    }

    private void Recover(JournalReplay? replay)
    {
        byte[] bytes = File.ReadAllBytes(_path);
        long end = 0;
        while (JournalRecord.TryDecode(bytes, end, out byte kind, out int payloadBytes, out _))
        {
            RefuseNewer(bytes, end);
            if (kind != JournalRecord.Mark)
            {
                replay?.Invoke(kind, bytes.AsSpan((int)end + JournalRecord.HeaderBytes, payloadBytes));
            }

            end += JournalRecord.HeaderBytes + payloadBytes;
        }

        for (long offset = end + 1; offset < bytes.Length; offset++)
        {
            if (JournalRecord.TryDecode(bytes, offset, out _, out _, out long synced) && synced > end)
            {
                throw new JournalDamagedException(
                    $"{_path}: the record at byte {end} is damaged, and a later one says that it had been on the disk: bring the file back from a copy, or cut it there (truncate -s {end}) to go on without what came after");
            }
        }

        CutBytes = bytes.Length - end;
        if (CutBytes > 0)
        {
            RandomAccess.SetLength(_file, end);
        }

        _length = end;
        Sync(); // what was read is built upon: from now on it is promised
    }

    private void RefuseNewer(byte[] bytes, long offset)
    {
        if (bytes[offset + 2] != JournalRecord.Version)
        {
            throw new JournalDamagedException($"{_path}: the record at byte {offset} has version {bytes[offset + 2]}; this program knows version {JournalRecord.Version}: use the program that wrote it, or a newer one");
        }
    }
}
