using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;
using TorchSharp;

namespace MetaQuery.Kernels;

/// <summary>
/// A file mapped into memory, privately: its pages are read when first touched and shared with whoever else reads the file, and
/// a write into a tensor over it changes this process's copy of the page, never the file. The mapping lives until it is
/// disposed and the last tensor over it is gone.
/// </summary>
/// <remarks>Another process that cuts the file short while it is mapped ends this one (SIGBUS): replace model files, do not rewrite them.</remarks>
public sealed unsafe class MappedFile : IDisposable
{
    const int Read = 1, Write = 2, Private = 2, NoReserve = 0x4000, WillNeed = 3;

    readonly byte* _address;
    int _users = 1, _disposed;

    /// <exception cref="IOException">The file cannot be opened or mapped.</exception>
    /// <exception cref="UnauthorizedAccessException">The file may not be read.</exception>
    public MappedFile(string path)
    {
        Path = path;
        using var file = File.OpenHandle(path, options: FileOptions.None);
        Length = RandomAccess.GetLength(file);
        _address = Map(path, file, 0, Length);
    }

    /// <summary>Maps a file that is open already: the one that was opened, even if another has taken its name since.</summary>
    /// <param name="path">What errors call it.</param>
    /// <param name="file">Open for reading; it may be closed afterwards.</param>
    /// <param name="length">How many bytes to map, at most as many as the file has.</param>
    /// <exception cref="IOException">The file cannot be mapped.</exception>
    public MappedFile(string path, SafeFileHandle file, long length)
    {
        Path = path;
        Length = length;
        _address = Map(path, file, 0, length);
    }

    /// <summary>Maps a part of a file that is open already: its pages go when its last tensor goes, those of the rest stay away.</summary>
    /// <param name="offset">Of the first byte, a multiple of the page size; the mapping counts from it.</param>
    /// <inheritdoc cref="MappedFile(string, SafeFileHandle, long)"/>
    public MappedFile(string path, SafeFileHandle file, long offset, long length)
    {
        if (offset % Environment.SystemPageSize != 0)
            throw new ArgumentException($"{path}: a mapping cannot start at byte {offset}, which is no multiple of {Environment.SystemPageSize}", nameof(offset));
        Path = path;
        Length = length;
        _address = Map(path, file, offset, length);
        if (_address != null) _ = madvise((nint)_address, (nuint)length, WillNeed); // a hint: read ahead, since all of it will be asked for
    }

    public string Path { get; }

    /// <summary>Bytes.</summary>
    public long Length { get; }

    /// <summary>The bytes from <paramref name="offset"/> on; valid until the mapping is disposed.</summary>
    /// <exception cref="ArgumentOutOfRangeException">They lie outside the file.</exception>
    public ReadOnlySpan<byte> Bytes(long offset, int length)
    {
        Check(offset, length);
        return new ReadOnlySpan<byte>(_address + offset, length);
    }

    /// <summary>A tensor over the mapped bytes, without a copy. The caller disposes it; it keeps the mapping alive.</summary>
    /// <param name="offset">Byte where the first element lies, a multiple of the element's size.</param>
    /// <param name="shape">Sizes, row-major.</param>
    /// <param name="dtype">Element type as stored (little-endian).</param>
    /// <exception cref="ArgumentOutOfRangeException">The elements lie outside the file.</exception>
    /// <exception cref="ArgumentException">The offset is not aligned: copy instead.</exception>
    public torch.Tensor Tensor(long offset, long[] shape, torch.ScalarType dtype)
    {
        var elements = 1L;
        foreach (var size in shape) elements = checked(elements * size);
        var elementBytes = BytesOf(dtype);
        Check(offset, checked(elements * elementBytes));
        if (!IsAligned(offset, dtype)) throw new ArgumentException($"{Path}: a tensor of {dtype} cannot start at byte {offset}, which is no multiple of {elementBytes}", nameof(offset));
        if (elements == 0) return torch.empty(shape, dtype);
        Interlocked.Increment(ref _users);
        try
        {
            return TensorMemory.Wrap((nint)(_address + offset), shape, dtype, Release);
        }
        catch
        {
            Release();
            throw;
        }
    }

    /// <summary>True when a tensor of this type may start at this byte. A mapping itself starts on a page.</summary>
    public static bool IsAligned(long offset, torch.ScalarType dtype) => offset % BytesOf(dtype) == 0;

    static int BytesOf(torch.ScalarType dtype) => dtype switch
    {
        torch.ScalarType.Byte or torch.ScalarType.Int8 or torch.ScalarType.Bool => 1,
        torch.ScalarType.Int16 or torch.ScalarType.Float16 or torch.ScalarType.BFloat16 => 2,
        torch.ScalarType.Int32 or torch.ScalarType.Float32 => 4,
        torch.ScalarType.Int64 or torch.ScalarType.Float64 => 8,
        _ => throw new ArgumentOutOfRangeException(nameof(dtype), $"{dtype} cannot be mapped"),
    };

    static byte* Map(string path, SafeFileHandle file, long offset, long length)
    {
        if (length == 0) return null; // mmap refuses an empty range
        // NoReserve: a file larger than the memory may be mapped, since pages that are only read can be dropped again.
        var address = mmap(0, (nuint)length, Read | Write, Private | NoReserve, (int)file.DangerousGetHandle(), (nint)offset);
        GC.KeepAlive(file);
        return address != -1 ? (byte*)address
            : throw new IOException($"{path}: mapping {length} bytes failed: {Marshal.GetPInvokeErrorMessage(Marshal.GetLastSystemError())}");
    }

    void Check(long offset, long length)
    {
        ObjectDisposedException.ThrowIf(_disposed != 0, this);
        if (offset < 0 || length < 0 || offset > Length - length)
            throw new ArgumentOutOfRangeException(nameof(offset), $"{Path}: bytes {offset} to {offset + length} of a file of {Length}");
    }

    ~MappedFile() => Dispose();

    public void Dispose()
    {
        if (Interlocked.Exchange(ref _disposed, 1) != 0) return;
        GC.SuppressFinalize(this);
        Release();
    }

    void Release()
    {
        if (Interlocked.Decrement(ref _users) == 0 && _address != null) _ = munmap((nint)_address, (nuint)Length);
    }

    [DllImport("libc", SetLastError = true)]
    static extern nint mmap(nint address, nuint length, int protection, int flags, int file, nint offset);

    [DllImport("libc")]
    static extern int madvise(nint address, nuint length, int advice);

    [DllImport("libc", SetLastError = true)]
    static extern int munmap(nint address, nuint length);
}
