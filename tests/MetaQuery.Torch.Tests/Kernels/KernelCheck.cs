using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Torch.Tests.Kernels;

/// <summary>
/// Compares a kernel with a composition of plain ATen operators in float64. What a float32 kernel may be off by: a sum of n
/// terms of size s errs by at most n/2 units of s in the last place (2^-24); with n up to 200 and terms up to 4 that is 2.4e-5.
/// A bfloat16 result is rounded once more: half a unit in the last of its eight bits, at most 2^-8 of its size.
/// </summary>
internal static class KernelCheck
{
    const double Float32Sum = 2.4e-5, BFloat16Half = 1.0 / 256;

    public static readonly TheoryData<ScalarType> Types = [ScalarType.Float32, ScalarType.BFloat16];

    /// <summary>Normal numbers, rounded to the type, from a seed.</summary>
    public static Tensor Normal(long seed, ScalarType type, params long[] shape)
    {
        using var generator = new Generator((ulong)seed);
        return randn(shape, generator: generator).to(type, disposeAfter: true);
    }

    public static Tensor Normal(long seed, params long[] shape) => Normal(seed, ScalarType.Float32, shape);

    public static void Close(Tensor expected, Tensor actual, double absolute = Float32Sum)
    {
        Assert.Equal(float64, expected.dtype);
        Assert.Equal(expected.shape, actual.shape);
        using var scope = NewDisposeScope();
        var want = expected.contiguous().data<double>().ToArray();
        var have = actual.to(float64).contiguous().data<double>().ToArray();
        var relative = actual.dtype == ScalarType.BFloat16 ? BFloat16Half : 0;
        for (var i = 0; i < want.Length; i++)
        {
            var allowed = absolute + relative * Math.Abs(want[i]);
            Assert.True(Math.Abs(want[i] - have[i]) <= allowed, $"element {i}: {have[i]}, expected {want[i]} within {allowed:g3}");
        }
    }

    public static void SameBits(Tensor expected, Tensor actual)
    {
        Assert.Equal(expected.shape, actual.shape);
        Assert.True(expected.bytes.SequenceEqual(actual.bytes), "the bits differ");
    }

    /// <summary>
    /// A row's result is the same alone, in a batch at any position, and with any number of threads.
    /// </summary>
    /// <param name="rows">The batch's rows: the kernel is given these rows of its inputs, in this order.</param>
    public static void RowsAreAlone(int rows, Func<Tensor, Tensor> kernel)
    {
        using var scope = NewDisposeScope();
        var all = arange(rows);
        var together = kernel(all);
        for (var row = 0; row < rows; row++) SameBits(together[row..(row + 1)].contiguous(), kernel(all[row..(row + 1)]));
        var turned = kernel(all.flip(0));
        SameBits(together, turned.flip(0).contiguous());
        var threads = get_num_threads();
        set_num_threads(threads + 2);
        try
        {
            SameBits(together, kernel(all));
        }
        finally
        {
            set_num_threads(threads);
        }
    }

    public static Tensor Wide(this Tensor x) => x.to(float64);
}
