using MetaQuery.Data;

namespace MetaQuery.Silo.Web;

/// <summary>Writes files that only their owner may read, from their first byte on.</summary>
internal static class PrivateFile
{
    /// <summary>Replaces a file as a whole.</summary>
    /// <exception cref="StorageException">It cannot be written; an older one stays as it was.</exception>
    public static void Write(string path, ReadOnlySpan<byte> content)
    {
        using AtomicFile file = AtomicFile.Create(path, bufferBytes: 0);
        try
        {
            if (!OperatingSystem.IsWindows())
            {
                File.SetUnixFileMode(((FileStream)file.Stream).SafeFileHandle, UnixFileMode.UserRead | UnixFileMode.UserWrite); // while it is empty
            }

            file.Stream.Write(content);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw StorageException.From(exception, file.FinalPath);
        }

        file.Commit();
    }
}
