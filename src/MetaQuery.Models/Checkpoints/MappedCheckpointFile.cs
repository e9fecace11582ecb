using System.IO.MemoryMappedFiles;
using Microsoft.Win32.SafeHandles;

namespace MetaQuery.Models.Checkpoints;

/// <summary>A checkpoint on disk. The file is opened once; length, header and mapping all belong to that descriptor, so that a file which is
/// replaced under the same name meanwhile does no harm.</summary>
sealed unsafe class MappedCheckpointFile : CheckpointFile
{
    readonly FileStream stream;
    readonly Lock mapping = new();
    MemoryMappedFile? map;
    SafeMemoryMappedViewHandle? view;
    byte* start;

    public MappedCheckpointFile(string path)
    {
        Path = path;
        try
        {
            stream = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete, bufferSize: 0);
            Length = RandomAccess.GetLength(stream.SafeFileHandle);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or NotSupportedException)
        {
            stream?.Dispose();
            throw CheckpointException.OfFile(path, Reason(e), e);
        }
    }

    public override string Path { get; }

    public override long Length { get; }

    public override void Read(long offset, Span<byte> destination)
    {
        try
        {
            while (!destination.IsEmpty)
            {
                int count = RandomAccess.Read(stream.SafeFileHandle, destination, offset);
                if (count == 0)
                    throw CheckpointException.OfFile(Path, $"the file ends at byte {offset}, {destination.Length} bytes more were expected");
                destination = destination[count..];
                offset += count;
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw CheckpointException.OfFile(Path, Reason(e), e);
        }
    }

    public override byte* AddressOf(long offset, long byteCount)
    {
        if (offset < 0 || byteCount < 0 || offset > Length - byteCount)
            throw CheckpointException.OfFile(Path, $"the file ends at byte {Length}, {byteCount} bytes from {offset} on were expected");
        // Pages beyond the end of a file that was cut end the process when they are touched: look just before.
        long now = RandomAccess.GetLength(stream.SafeFileHandle);
        if (now < Length)
            throw CheckpointException.OfFile(Path, $"the file had {Length} bytes when it was opened and has {now} now");
        lock (mapping)
        {
            if (start is null)
                Map();
            return start + offset;
        }
    }

    void Map()
    {
        try
        {
            map = MemoryMappedFile.CreateFromFile(stream, mapName: null, capacity: 0, MemoryMappedFileAccess.CopyOnWrite, HandleInheritability.None, leaveOpen: true);
            view = map.CreateViewAccessor(0, Length, MemoryMappedFileAccess.CopyOnWrite).SafeMemoryMappedViewHandle;
            view.AcquirePointer(ref start);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw CheckpointException.OfFile(Path, Reason(e), e);
        }
    }

    static string Reason(Exception e) => e switch
    {
        FileNotFoundException or DirectoryNotFoundException => "there is no such file",
        UnauthorizedAccessException => "it cannot be opened for reading (a folder, or no permission)",
        _ => $"it cannot be read ({e.Message.ReplaceLineEndings(" ").TrimEnd('.')})",
    };

    protected override void Dispose(bool disposing)
    {
        if (!disposing)
            return;
        if (start is not null)
            view!.ReleasePointer();
        start = null;
        view?.Dispose();
        map?.Dispose();
        stream.Dispose();
    }
}
