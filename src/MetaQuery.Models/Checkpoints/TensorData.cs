using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Models.Checkpoints;

/// <summary>Where bytes become tensors.</summary>
static unsafe class TensorData
{
    public delegate void Filler(nint destination);

    /// <summary>A tensor over the file's bytes where that can be, else a copy; converted if <paramref name="wanted"/> is another dtype.</summary>
    public static Tensor FromFile(CheckpointFile file, long offset, long bytes, long[] shape, ScalarType stored, ScalarType wanted)
    {
        if (file.TensorAt(offset, bytes, shape, stored) is { } mapped)
        {
            if (stored == wanted)
                return mapped;
            using (mapped)
                return mapped.to(wanted);
        }
        byte* data = file.AddressOf(offset, bytes);
        return Fill(shape, stored, wanted, destination => Buffer.MemoryCopy(data, (void*)destination, bytes, bytes));
    }

    /// <summary>A new tensor of dtype <paramref name="filled"/> that <paramref name="fill"/> writes, element by element in row-major order.</summary>
    public static Tensor Fill(long[] shape, ScalarType filled, ScalarType wanted, Filler fill)
    {
        var tensor = empty(shape, dtype: filled);
        try
        {
            if (tensor.numel() > 0)
                fill(Address(tensor));
        }
        catch
        {
            tensor.Dispose();
            throw;
        }
        if (filled == wanted)
            return tensor;
        using (tensor)
            return tensor.to(wanted);
    }

    /// <summary>The address of a contiguous CPU tensor's first element.</summary>
    static nint Address(Tensor tensor)
    {
        using var flat = tensor.view(-1);
        using var first = flat.narrow(0, 0, 1); // a span over the whole would end at 2 GB
        fixed (byte* address = first.bytes)
            return (nint)address;
    }
}
