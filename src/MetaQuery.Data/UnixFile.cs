using System.Runtime.InteropServices;

namespace MetaQuery.Data;

/// <summary>What .NET has no call for.</summary>
internal static partial class UnixFile
{
    private const int InvalidArgument = 22; // EINVAL: a file system that cannot sync folders (some network mounts)
    private const int SeekEnd = 2;

    // O_NONBLOCK: a pipe opens at once, also where nobody writes to it
    private static int NonBlocking => OperatingSystem.IsMacOS() ? 0x4 : 0x800;

    /// <summary>A folder held open, to sync the names in it.</summary>
    /// <exception cref="StorageException">It cannot be opened.</exception>
    public static Folder OpenFolder(string path)
    {
        if (OperatingSystem.IsWindows())
        {
            return new Folder(path, -1); // NTFS journals names; there is no call for it
        }

        int descriptor = Open(path, 0 /* O_RDONLY */);
        return descriptor >= 0
            ? new Folder(path, descriptor)
            : throw new StorageException(StorageFault.Other, $"{path}: cannot be opened to sync it: {Marshal.GetPInvokeErrorMessage(Marshal.GetLastPInvokeError())}");
    }

    /// <summary>Whether a file can be read from any place: a pipe, a socket or a terminal cannot. What cannot be opened is left to who reads it.</summary>
    public static bool IsSeekable(string path)
    {
        int descriptor = Open(path, NonBlocking);
        if (descriptor < 0)
        {
            return true;
        }

        bool isSeekable = Seek(descriptor, 0, SeekEnd) >= 0;
        _ = Close(descriptor);
        return isSeekable;
    }

    [LibraryImport("libc", EntryPoint = "open", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int Open(string path, int flags);

    [LibraryImport("libc", EntryPoint = "fsync", SetLastError = true)]
    private static partial int Sync(int descriptor);

    [LibraryImport("libc", EntryPoint = "lseek", SetLastError = true)]
    private static partial long Seek(int descriptor, long offset, int whence);

    [LibraryImport("libc", EntryPoint = "close")]
    private static partial int Close(int descriptor);

    public sealed class Folder(string path, int descriptor) : IDisposable
    {
        /// <exception cref="StorageException">The folder cannot be synced.</exception>
        public void Sync()
        {
            if (descriptor >= 0 && UnixFile.Sync(descriptor) != 0 && Marshal.GetLastPInvokeError() is int error && error != InvalidArgument)
            {
                throw new StorageException(StorageFault.Other, $"{path}: cannot be synced: {Marshal.GetPInvokeErrorMessage(error)}");
            }
        }

        public void Dispose()
        {
            if (descriptor >= 0)
            {
                _ = Close(descriptor);
            }
        }
    }
}
