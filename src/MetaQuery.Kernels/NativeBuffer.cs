using System.Runtime.InteropServices;

namespace MetaQuery.Kernels;

/// <summary>Memory outside the collector's heap, aligned to a cache line: packed weights and the kernels' activations.</summary>
public sealed unsafe class NativeBuffer : IDisposable
{
    const nuint Alignment = 64;

    byte* _memory;

    /// <param name="bytes">At least 0. The contents are undefined.</param>
    /// <exception cref="OutOfMemoryException">The system has no such block.</exception>
    public NativeBuffer(long bytes)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(bytes);
        Bytes = bytes;
        _memory = (byte*)NativeMemory.AlignedAlloc((nuint)Math.Max(bytes, 1), Alignment);
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

    void Release()
    {
        if (_memory is null) return;
        NativeMemory.AlignedFree(_memory);
        _memory = null;
        if (Bytes > 0) GC.RemoveMemoryPressure(Bytes);
    }
}
