using System.Diagnostics;
using TorchSharp;

namespace MetaQuery.Benchmarks;

/// <summary>What the binding adds to one small operator: a managed loop of additions against the same loop in native code.</summary>
public static class TensorOverhead
{
    /// <summary>The promise: at most so many nanoseconds above libtorch's own.</summary>
    public const double LimitNanoseconds = 2000;

    const int Batch = 500, Batches = 400;

    /// <param name="ManagedNanoseconds">One addition of two small tensors through the binding, its result disposed.</param>
    /// <param name="NativeNanoseconds">The same in native code.</param>
    public sealed record Result(double ManagedNanoseconds, double NativeNanoseconds)
    {
        public double OverheadNanoseconds => ManagedNanoseconds - NativeNanoseconds;
    }

    /// <summary>The least of many short batches on each side, taken by turns: what else runs on the machine only ever adds.</summary>
    public static Result Measure()
    {
        using var mode = torch.inference_mode();
        using torch.Tensor left = torch.ones(16), right = torch.ones(16);
        double managed = double.MaxValue, native = double.MaxValue;
        for (var i = 0; i < Batches; i++)
        {
            var start = Stopwatch.GetTimestamp();
            for (var j = 0; j < Batch; j++) left.add(right).Dispose();
            managed = Math.Min(managed, Stopwatch.GetElapsedTime(start).TotalNanoseconds / Batch);
            native = Math.Min(native, OperatorBenchmark.NativeAddNanoseconds(left, right, Batch));
        }
        return new Result(managed, native);
    }
}
