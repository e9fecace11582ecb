using MetaQuery.Models.Checkpoints;
using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Models.Mllm;

/// <summary>x / sqrt(mean(x²) + epsilon) · weight over the last dimension, always in float32: a bfloat16 mean of squares drops small channels.</summary>
public sealed class RmsNorm : IDisposable
{
    private readonly double _epsilon;

    private RmsNorm(Tensor weight, double epsilon) => (Weight, _epsilon) = (weight, epsilon);

    /// <summary>[size], float32.</summary>
    public Tensor Weight { get; }

    /// <exception cref="CheckpointException">The tensor is missing or has another shape.</exception>
    public static RmsNorm Load(WeightSource source, string key, int size, double epsilon, Device? device = null)
    {
        ArgumentNullException.ThrowIfNull(source);
        using var scope = NewDisposeScope();
        var weight = source.Load(key, [size], ScalarType.Float32);
        return new RmsNorm((device is null ? weight : weight.to(device)).DetachFromDisposeScope(), epsilon);
    }

    /// <param name="x">[..., size], float32.</param>
    public Tensor Forward(Tensor x)
    {
        using var scope = NewDisposeScope();
        var scale = ((x * x).mean([-1], keepdim: true) + _epsilon).rsqrt();
        return (x * scale * Weight).MoveToOuterDisposeScope();
    }

    public void Dispose() => Weight.Dispose();
}
