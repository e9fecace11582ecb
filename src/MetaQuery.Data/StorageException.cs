namespace MetaQuery.Data;

/// <summary>Why a file could not be written.</summary>
public enum StorageFault
{
    /// <summary>Another error of the file system; the message says which.</summary>
    Other,

    /// <summary>No space or no quota left.</summary>
    DiskFull,

    /// <summary>A read-only file system.</summary>
    ReadOnly,

    /// <summary>The user may not write there.</summary>
    AccessDenied,

    /// <summary>A folder on the way does not exist.</summary>
    NotFound,
}

/// <summary>Output could not be written; nothing is left under a final name.</summary>
public sealed class StorageException(StorageFault fault, string message, Exception? inner = null) : Exception(message, inner)
{
    public StorageFault Fault { get; } = fault;

    /// <summary>A full disk may be emptied; the rest needs a person.</summary>
    public bool IsTransient => Fault == StorageFault.DiskFull;

    /// <summary>Whether an error says that there is no space or no quota left (ENOSPC 28, EDQUOT 122).</summary>
    public static bool IsDiskFull(Exception exception) => exception is IOException { HResult: 28 or 122 or unchecked((int)0x80070070) };

    /// <summary>Names what failed on which path, from the exception that .NET's file APIs gave.</summary>
    public static StorageException From(Exception exception, string path)
    {
        // .NET on Unix hands errno on as HResult where it has no exception of its own for it (EROFS 30)
        return exception switch
        {
            StorageException already => already,
            UnauthorizedAccessException => new(StorageFault.AccessDenied, $"{path}: no permission to write here", exception),
            DirectoryNotFoundException when FileOnTheWay(path) is { } file => new(StorageFault.NotFound, $"{file} is a file; name a folder", exception),
            DirectoryNotFoundException => new(StorageFault.NotFound, $"{path}: its folder does not exist", exception),
            _ when IsDiskFull(exception) => new(StorageFault.DiskFull, $"{path}: the disk is full", exception),
            { HResult: 30 } => new(StorageFault.ReadOnly, $"{path}: the file system is read-only", exception),
            _ => new(StorageFault.Other, $"{path}: {exception.Message}", exception),
        };
    }

    private static string? FileOnTheWay(string path)
    {
        string? at = path;
        while (!string.IsNullOrEmpty(at) && !File.Exists(at))
        {
            at = Path.GetDirectoryName(at);
        }

        return string.IsNullOrEmpty(at) ? null : at;
    }
}
