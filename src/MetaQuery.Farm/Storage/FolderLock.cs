using MetaQuery.Data;

namespace MetaQuery.Farm;

/// <summary>A file that one process holds: the kernel gives it free when the process ends, however it ends.</summary>
internal static class FolderLock
{
    /// <returns>The lock, held until it is disposed; null where another process holds it. The file stays: removing it would let two processes hold two of them.</returns>
    /// <exception cref="StorageException">The file cannot be made.</exception>
    public static FileStream? TryTake(string path)
    {
        try
        {
            // FileShare.None is flock(LOCK_EX | LOCK_NB) on Unix
            return new FileStream(path, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None);
        }
        catch (IOException exception) when (exception.HResult is 11 or 35 or unchecked((int)0x80070020))
        {
            return null; // EWOULDBLOCK is 11 on Linux and 35 on macOS; the last is Windows' sharing violation
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw StorageException.From(exception, path);
        }
    }
}
