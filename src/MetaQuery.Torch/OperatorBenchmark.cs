using TorchSharp.Native;

namespace TorchSharp;

/// <summary>libtorch's own cost of an operator, so that the binding's share can be told apart.</summary>
public static class OperatorBenchmark
{
    /// <summary>Nanoseconds of one <c>left + right</c> in a loop of native code, its result disposed.</summary>
    public static double NativeAddNanoseconds(torch.Tensor left, torch.Tensor right, long iterations)
    {
        var nanoseconds = NativeMethods.BenchmarkAdd(left.Handle, right.Handle, iterations);
        GC.KeepAlive(left);
        GC.KeepAlive(right);
        return nanoseconds >= 0 ? nanoseconds : throw TorchException.Last();
    }
}
