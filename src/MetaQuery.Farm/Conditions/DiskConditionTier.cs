using System.Buffers.Binary;
using System.Security.Cryptography;
using MetaQuery.Data;

namespace MetaQuery.Farm;

/// <summary>Conditions on disk: a file each, checksummed, put under its name by a rename, bounded in bytes by last use.</summary>
/// <remarks>
/// A file is <c>MQCD</c>, version (1), payload length (int32, little-endian), SHA-256 of the payload, the payload. It is not synced:
/// what a loss of power tears has a wrong checksum and is made again. Processes may share a folder, also from several machines: each looks
/// again at what the others wrote whenever it has itself written a sixteenth of the budget, so that together they keep it but for that.
/// </remarks>
public sealed class DiskConditionTier : IConditionTier
{
    private const int HeaderBytes = 4 + 4 + 4 + SHA256.HashSizeInBytes;
    private const int Version = 1;
    private static ReadOnlySpan<byte> Magic => "MQCD"u8;

    private readonly string _folder;
    private readonly long _budgetBytes;
    private readonly Lock _gate = new();
    private readonly Dictionary<string, LinkedListNode<(string Name, long Bytes)>> _entries = [];
    private readonly LinkedList<(string Name, long Bytes)> _leastRecentFirst = [];
    private long _bytes;
    private long _writtenSinceLook;
    private long _evictions;

    /// <exception cref="StorageException">The folder cannot be made.</exception>
    public DiskConditionTier(string folder, long budgetBytes)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(budgetBytes);
        _folder = folder;
        _budgetBytes = budgetBytes;
        try
        {
            Directory.CreateDirectory(folder);
            TemporaryFiles.RemoveDead(folder);
            Look();
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw StorageException.From(exception, folder);
        }
    }

    public string Name => "disk";

    public bool KeepsAll => false;

    /// <summary>Bytes of the files known to this process.</summary>
    public long Bytes
    {
        get
        {
            lock (_gate)
            {
                return _bytes;
            }
        }
    }

    public long Evictions => Interlocked.Read(ref _evictions);

    /// <returns>The condition; or null where there is none, with <paramref name="isCorrupt"/> true where a damaged one was removed.</returns>
    public byte[]? TryRead(ConditionKey key, out bool isCorrupt)
    {
        isCorrupt = false;
        string name = key.ToString();
        string path = PathOf(name);
        byte[] file;
        try
        {
            file = File.ReadAllBytes(path);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            Forget(name); // whatever keeps it from being read, it can be made again; a disk that takes nothing either says so at Write
            return null;
        }

        if (file.Length >= HeaderBytes
            && file.AsSpan(0, 4).SequenceEqual(Magic)
            && BinaryPrimitives.ReadInt32LittleEndian(file.AsSpan(4)) == Version
            && BinaryPrimitives.ReadInt32LittleEndian(file.AsSpan(8)) == file.Length - HeaderBytes
            && SHA256.HashData(file.AsSpan(HeaderBytes)).AsSpan().SequenceEqual(file.AsSpan(12, SHA256.HashSizeInBytes)))
        {
            Remember(name, file.Length);
            return file[HeaderBytes..];
        }

        isCorrupt = true;
        Delete(path);
        Forget(name);
        return null;
    }

    /// <exception cref="StorageException">The disk is full or read-only.</exception>
    public void Write(ConditionKey key, ReadOnlySpan<byte> condition)
    {
        string name = key.ToString();
        string path = PathOf(name);
        string temporary = TemporaryFiles.NameFor(path);
        Span<byte> header = stackalloc byte[HeaderBytes];
        Magic.CopyTo(header);
        BinaryPrimitives.WriteInt32LittleEndian(header[4..], Version);
        BinaryPrimitives.WriteInt32LittleEndian(header[8..], condition.Length);
        SHA256.HashData(condition, header[12..]);
        try
        {
            Directory.CreateDirectory(_folder); // somebody may have cleared the cache away
            using (var stream = new FileStream(temporary, FileMode.Create, FileAccess.Write, FileShare.None, bufferSize: 0))
            {
                stream.Write(header);
                stream.Write(condition);
            }

            File.Move(temporary, path, overwrite: true);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            Delete(temporary);
            throw StorageException.From(exception, path);
        }

        Remember(name, HeaderBytes + condition.Length);
        if (Interlocked.Add(ref _writtenSinceLook, HeaderBytes + condition.Length) > _budgetBytes / 16)
        {
            Interlocked.Exchange(ref _writtenSinceLook, 0);
            Look();
        }

        DropOldest();
    }

    /// <summary>Learns of entries that others wrote; those it knows keep their place in the order of use.</summary>
    private void Look()
    {
        FileInfo[] files;
        try
        {
            Directory.CreateDirectory(_folder);
            files = [.. new DirectoryInfo(_folder).EnumerateFiles("*.condition").Where(file => file.Exists).OrderBy(file => file.LastWriteTimeUtc)];
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw StorageException.From(exception, _folder);
        }

        foreach (FileInfo file in files)
        {
            string name = Path.GetFileNameWithoutExtension(file.Name);
            lock (_gate)
            {
                if (_entries.ContainsKey(name))
                {
                    continue;
                }
            }

            Remember(name, file.Length);
        }
    }

    private static void Delete(string path)
    {
        try
        {
            File.Delete(path);
        }
        catch (DirectoryNotFoundException)
        {
            // gone with its folder
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw StorageException.From(exception, path);
        }
    }

    private string PathOf(string name) => Path.Combine(_folder, name + ".condition");

    private void DropOldest()
    {
        while (true)
        {
            string name;
            lock (_gate)
            {
                if (_bytes <= _budgetBytes || _leastRecentFirst.First is not { } oldest)
                {
                    return;
                }

                name = oldest.Value.Name;
                Drop(oldest);
            }

            Interlocked.Increment(ref _evictions);
            Delete(PathOf(name));
        }
    }

    private void Remember(string name, long bytes)
    {
        lock (_gate)
        {
            if (_entries.TryGetValue(name, out LinkedListNode<(string Name, long Bytes)>? known))
            {
                Drop(known);
            }

            _entries[name] = _leastRecentFirst.AddLast((name, bytes));
            _bytes += bytes;
        }
    }

    private void Forget(string name)
    {
        lock (_gate)
        {
            if (_entries.TryGetValue(name, out LinkedListNode<(string Name, long Bytes)>? known))
            {
                Drop(known);
            }
        }
    }

    private void Drop(LinkedListNode<(string Name, long Bytes)> entry)
    {
        _leastRecentFirst.Remove(entry);
        _entries.Remove(entry.Value.Name);
        _bytes -= entry.Value.Bytes;
    }
}
