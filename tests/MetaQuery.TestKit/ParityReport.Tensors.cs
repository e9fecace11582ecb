using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.TestKit;

public sealed partial class ParityReport
{
    /// <summary>Compares two tensors in float32 on the CPU, whatever their dtype and device. A NaN or another shape fails.</summary>
    public void Close(string what, Tensor actual, Tensor expected, double atol, double rtol) =>
        Close(what, actual, expected, new ParityTolerance(atol, rtol));

    /// <inheritdoc cref="Close(string, Tensor, Tensor, double, double)"/>
    public void Close(string what, Tensor actual, Tensor expected, ParityTolerance tolerance) =>
        Close(what, Floats(actual), actual.shape, Floats(expected), expected.shape, tolerance);

    /// <summary>The same shape, the same dtype and every element equal.</summary>
    public void Exact(string what, Tensor actual, Tensor expected)
    {
        if (actual.dtype != expected.dtype)
        {
            That(what, holds: false, $"dtype {actual.dtype}, expected {expected.dtype}");
            return;
        }

        if (!SameShape(what, (int)actual.numel(), actual.shape, (int)expected.numel(), expected.shape))
        {
            return;
        }

        // int64 holds every integer dtype, float64 every floating one; a NaN is equal to nothing.
        if (actual.is_floating_point())
        {
            Compare<double>(what, Doubles(actual), Doubles(expected), expected.shape, ParityTolerance.Exact);
        }
        else
        {
            Exact<long>(what, Longs(actual), Longs(expected));
        }
    }

    private static float[] Floats(Tensor tensor)
    {
        using var scope = NewDisposeScope();
        return tensor.detach().to(ScalarType.Float32).cpu().contiguous().data<float>().ToArray();
    }

    private static double[] Doubles(Tensor tensor)
    {
        using var scope = NewDisposeScope();
        return tensor.detach().to(ScalarType.Float64).cpu().contiguous().data<double>().ToArray();
    }

    private static long[] Longs(Tensor tensor)
    {
        using var scope = NewDisposeScope();
        return tensor.detach().to(ScalarType.Int64).cpu().contiguous().data<long>().ToArray();
    }
}
