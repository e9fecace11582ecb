using System.Runtime.InteropServices;
using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Models.Checkpoints;

/// <summary>The bytes of one checkpoint file. Headers are read by copy, so that a file that shrinks meanwhile gives an error; only the data
/// of tensors is reached through an address.</summary>
abstract unsafe class CheckpointFile : IDisposable
{
    /// <summary>The name that errors state.</summary>
    public abstract string Path { get; }

    /// <summary>Length in bytes when the file was opened.</summary>
    public abstract long Length { get; }

    /// <summary>Fills <paramref name="destination"/> with the bytes from <paramref name="offset"/> on.</summary>
    /// <exception cref="CheckpointException">The file ends before, or cannot be read.</exception>
    public abstract void Read(long offset, Span<byte> destination);

    /// <summary>The address of byte <paramref name="offset"/>, valid until disposal.</summary>
    /// <exception cref="CheckpointException">The file has changed its length since it was opened.</exception>
    public abstract byte* AddressOf(long offset, long byteCount);

    /// <summary>A tensor over the bytes from <paramref name="offset"/> on, which outlives this object; null where there can be none: the
    /// data is not aligned, or lies in managed memory.</summary>
    /// <exception cref="CheckpointException">The file has changed its length since it was opened.</exception>
    public abstract Tensor? TensorAt(long offset, long byteCount, long[] shape, ScalarType dtype);

    public void Dispose()
    {
        Dispose(disposing: true);
        GC.SuppressFinalize(this);
    }

    protected abstract void Dispose(bool disposing);
}

/// <summary>A checkpoint that lies in memory: for tests, and for files that were received rather than stored.</summary>
sealed unsafe class MemoryCheckpointFile : CheckpointFile
{
    readonly byte[] bytes;
    GCHandle pin;

    public MemoryCheckpointFile(string name, byte[] bytes)
    {
        Path = name;
        this.bytes = bytes;
        pin = GCHandle.Alloc(bytes, GCHandleType.Pinned);
    }

    public override string Path { get; }

    public override long Length => bytes.Length;

    public override void Read(long offset, Span<byte> destination)
    {
        if (offset < 0 || offset > bytes.Length - destination.Length)
            throw CheckpointException.OfFile(Path, $"the file ends at byte {bytes.Length}, {destination.Length} bytes from {offset} on were expected");
        bytes.AsSpan((int)offset, destination.Length).CopyTo(destination);
    }

    public override byte* AddressOf(long offset, long byteCount)
    {
        if (offset < 0 || byteCount < 0 || offset > bytes.Length - byteCount)
            throw CheckpointException.OfFile(Path, $"the file ends at byte {bytes.Length}, {byteCount} bytes from {offset} on were expected");
        return (byte*)pin.AddrOfPinnedObject() + offset;
    }

    public override Tensor? TensorAt(long offset, long byteCount, long[] shape, ScalarType dtype) => null;

    protected override void Dispose(bool disposing)
    {
        if (pin.IsAllocated)
            pin.Free();
    }
}
