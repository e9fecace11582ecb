using System.Security.Cryptography;

namespace MetaQuery.Data;

/// <summary>A file that appears under its name whole or not at all: written to a temporary name beside it, synced, renamed, its folder synced.</summary>
public sealed class AtomicFile : IDisposable
{
    private const string PartialMark = ".partial-";

    private readonly string _temporaryPath;
    private readonly FileStream _stream;
    private bool _committed;
    private bool _disposed;

    private AtomicFile(string path, int bufferBytes)
    {
        FinalPath = System.IO.Path.GetFullPath(path);
        string folder = System.IO.Path.GetDirectoryName(FinalPath) ?? throw new ArgumentException($"{path} names no file", nameof(path));
        _temporaryPath = System.IO.Path.Combine(folder, "." + System.IO.Path.GetFileName(FinalPath) + PartialMark + Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(6)));
        try
        {
            _stream = new FileStream(_temporaryPath, FileMode.CreateNew, FileAccess.Write, FileShare.Read, bufferBytes);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw StorageException.From(exception, FinalPath);
        }
    }

    public string FinalPath { get; }

    /// <summary>Where to write. Its errors are those of .NET; <see cref="StorageException.From"/> names them.</summary>
    public Stream Stream => _stream;

    /// <exception cref="StorageException">The temporary file cannot be created.</exception>
    public static AtomicFile Create(string path, int bufferBytes = 1 << 16) => new(path, bufferBytes);

    /// <summary>Writes a whole file.</summary>
    /// <exception cref="StorageException">The file cannot be written; an older one under the name stays as it was.</exception>
    public static void WriteAllBytes(string path, ReadOnlySpan<byte> content)
    {
        using AtomicFile file = Create(path, bufferBytes: 0);
        try
        {
            file.Stream.Write(content);
        }
        catch (IOException exception)
        {
            throw StorageException.From(exception, file.FinalPath);
        }

        file.Commit();
    }

    /// <summary>Removes what writers that died left in a folder. Only for a folder that no one else writes to.</summary>
    public static void RemoveLeftovers(string folder)
    {
        foreach (string path in Directory.EnumerateFiles(folder, ".*" + PartialMark + "*"))
        {
            File.Delete(path);
        }
    }

    /// <summary>Syncs the content, gives it its name, syncs the folder. An older file under the name is replaced.</summary>
    /// <exception cref="StorageException">
    /// Nothing has been put under the final name; or, where only the folder's sync failed, the file is there whole but a loss of power may take it away.
    /// </exception>
    public void Commit()
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        if (_committed)
        {
            throw new InvalidOperationException($"{FinalPath} is committed already");
        }

        // opened before the rename: what can fail fails while nothing has its final name
        using var folder = UnixFile.OpenFolder(System.IO.Path.GetDirectoryName(FinalPath)!);
        try
        {
            _stream.Flush(flushToDisk: true);
            _stream.Dispose();
            File.Move(_temporaryPath, FinalPath, overwrite: true);
            _committed = true;
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw StorageException.From(exception, FinalPath);
        }

        folder.Sync();
    }

    /// <summary>Makes a rename or a new name in a folder last through a loss of power.</summary>
    /// <exception cref="StorageException">The folder cannot be synced.</exception>
    public static void SyncFolder(string folder)
    {
        using var opened = UnixFile.OpenFolder(folder);
        opened.Sync();
    }

    /// <summary>Removes the temporary file unless committed.</summary>
    public void Dispose()
    {
        if (_disposed)
        {
            return;
        }

        _disposed = true;
        try
        {
            _stream.Dispose();
        }
        catch (IOException)
        {
            // what is left in the buffer does not fit on a full disk, and is thrown away in any case
        }

        if (!_committed)
        {
            File.Delete(_temporaryPath);
        }
    }
}
