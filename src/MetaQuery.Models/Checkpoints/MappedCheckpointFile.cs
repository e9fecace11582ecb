using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using MetaQuery.Kernels;
using Microsoft.Win32.SafeHandles;
using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Models.Checkpoints;

/// <summary>A checkpoint on disk. The file is opened once; length, header and mapping all belong to that descriptor, so that a file which is
/// replaced under the same name meanwhile does no harm.</summary>
sealed unsafe class MappedCheckpointFile : CheckpointFile
{
    const long OwnMappingBytes = 1 << 20;

    readonly SafeFileHandle handle;
    readonly Lock mapping = new();
    MappedFile? map;

    public MappedCheckpointFile(string path)
    {
        Path = path;
        try
        {
            handle = File.OpenHandle(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete);
            Length = RandomAccess.GetLength(handle);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or NotSupportedException)
        {
            handle?.Dispose();
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
                int count = RandomAccess.Read(handle, destination, offset);
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
        RequireLength(offset, byteCount);
        return (byte*)Unsafe.AsPointer(ref MemoryMarshal.GetReference(Map().Bytes(offset, 0)));
    }

    public override Tensor? TensorAt(long offset, long byteCount, long[] shape, ScalarType dtype)
    {
        RequireLength(offset, byteCount);
        if (!MappedFile.IsAligned(offset, dtype))
            return null;
        if (byteCount < OwnMappingBytes)
            return Map().Tensor(offset, shape, dtype);
        try
        {
            // pages that were read stay with the process as long as the mapping: a large tensor's go with it
            long start = offset / Environment.SystemPageSize * Environment.SystemPageSize;
            using var own = new MappedFile(Path, handle, start, offset + byteCount - start);
            return own.Tensor(offset - start, shape, dtype);
        }
        catch (IOException e)
        {
            throw CheckpointException.OfFile(Path, Reason(e), e);
        }
    }

    void RequireLength(long offset, long byteCount)
    {
        if (offset < 0 || byteCount < 0 || offset > Length - byteCount)
            throw CheckpointException.OfFile(Path, $"the file ends at byte {Length}, {byteCount} bytes from {offset} on were expected");
        // Pages beyond the end of a file that was cut end the process when they are touched: look just before.
        long now = RandomAccess.GetLength(handle);
        if (now < Length)
            throw CheckpointException.OfFile(Path, $"the file had {Length} bytes when it was opened and has {now} now");
    }

    MappedFile Map()
    {
        lock (mapping)
        {
            try
            {
                return map ??= new MappedFile(Path, handle, Length);
            }
            catch (IOException e)
            {
                throw CheckpointException.OfFile(Path, Reason(e), e);
            }
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
        map?.Dispose();
        handle.Dispose();
    }
}
