using MetaQuery.Kernels;

namespace MetaQuery.Models.Autoencoder;

/// <summary>The activations of <see cref="FusedDecoder"/> for one picture. One per thread of control; kept for pictures of one size.</summary>
public sealed unsafe class FusedDecoderWorkspace : IDisposable
{
    private readonly Dictionary<(int Stage, int Role), NativeBuffer> buffers = [];
    private (int Height, int Width) latents;

    /// <param name="threads">OpenMP threads that the kernels use. Results do not depend on it.</param>
    public FusedDecoderWorkspace(int threads)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(threads, 1);
        Threads = threads;
    }

    public int Threads { get; }

    /// <summary>Drops what another size left behind.</summary>
    internal void Begin(int height, int width)
    {
        if (latents != (height, width))
        {
            Dispose();
            latents = (height, width);
        }
    }

    /// <summary>A buffer of one stage, the same at every call; zeros at first, which is what makes borders.</summary>
    internal void* Buffer(int stage, FusedDecoderRole role, long bytes)
    {
        if (!buffers.TryGetValue((stage, (int)role), out var buffer) || buffer.Bytes < bytes)
        {
            buffer?.Dispose();
            buffer = new NativeBuffer(bytes);
            System.Runtime.InteropServices.NativeMemory.Clear(buffer.Pointer, (nuint)bytes);
            buffers[(stage, (int)role)] = buffer;
        }

        return buffer.Pointer;
    }

    public void Dispose()
    {
        foreach (var buffer in buffers.Values)
        {
            buffer.Dispose();
        }

        buffers.Clear();
    }
}

/// <summary>What a buffer of a stage is for.</summary>
internal enum FusedDecoderRole
{
    Stream,
    Padded,
    PaddedHidden,
    Update,
    Rounded,
    Single,
    Scale,
    QueryKeyValue,
    Attended,
    Wide,
    Narrow,
}
