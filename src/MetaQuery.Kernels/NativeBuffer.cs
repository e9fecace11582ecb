using System.Runtime.InteropServices;

namespace MetaQuery.Kernels;

/// <summary>Memory outside the collector's heap, aligned to a cache line: packed weights and the kernels' activations.</summary>
public sealed unsafe class NativeBuffer : IDisposable
{
    const nuint Alignment = 64;
    const long LeastMapped = 2 << 20; // a huge page
    const int Read = 1, Write = 2, Private = 2, Anonymous = 0x20, HugePages = 14;

    readonly bool _isMapped;
    byte* _memory;

    /// <param name="bytes">At least 0. The contents are undefined.</param>
    /// <param name="lasting">For weights: a large block is a mapping of its own, which goes back to the system at once when it is disposed of
    /// (others stay with the process for the next temporary), and whose pages may be huge.</param>
    /// <exception cref="OutOfMemoryException">The system has no such block.</exception>
    public NativeBuffer(long bytes, bool lasting = false)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(bytes);
        Bytes = bytes;
        _isMapped = lasting && bytes >= LeastMapped;
        _memory = _isMapped ? Map(bytes) : (byte*)NativeMemory.AlignedAlloc((nuint)Math.Max(bytes, 1), Alignment);
        if (bytes > 0) GC.AddMemoryPressure(bytes);
    }

    ~NativeBuffer() => Release();

    public long Bytes { get; }

    /// <exception cref="ObjectDisposedException">The buffer was given back.</exception>
    public void* Pointer => _memory is not null ? _memory : throw new ObjectDisposedException(nameof(NativeBuffer));

    public float* Floats => (float*)Pointer;

    public void Dispose()
    {
        Release();
        GC.SuppressFinalize(this);
    }

    static byte* Map(long bytes)
    {
        var address = mmap(0, (nuint)bytes, Read | Write, Private | Anonymous, -1, 0);
        if (address == -1) throw new InsufficientMemoryException($"the system has no block of {bytes} bytes");
        _ = madvise(address, (nuint)bytes, HugePages); // a hint
        return (byte*)address;
    }

    [DllImport("libc", SetLastError = true)]
    static extern nint mmap(nint address, nuint length, int protection, int flags, int file, nint offset);

    [DllImport("libc")]
    static extern int madvise(nint address, nuint length, int advice);

    [DllImport("libc")]
    static extern int munmap(nint address, nuint length);

    void Release()
    {
        if (_memory is null) return;
        if (_isMapped) _ = munmap((nint)_memory, (nuint)Bytes);
        else NativeMemory.AlignedFree(_memory);
        _memory = null;
        if (Bytes > 0) GC.RemoveMemoryPressure(Bytes);
    }
}
