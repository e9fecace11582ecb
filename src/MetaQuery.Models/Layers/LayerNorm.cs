using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Models.Layers;

/// <summary>Layer norm over the last dimension, with or without γ and β, in float32.</summary>
internal sealed class LayerNorm
{
    private readonly Tensor? weight;
    private readonly Tensor? bias;
    private readonly long[] shape;
    private readonly double epsilon;

    public LayerNorm(ParameterScope scope, long size, double epsilon, bool affine)
    {
        weight = scope.LoadIf(affine, "weight", size);
        bias = scope.LoadIf(affine, "bias", size);
        shape = [size];
        this.epsilon = epsilon;
    }

    /// <param name="x">[..., size], float32.</param>
    public Tensor Forward(Tensor x)
    {
        if (weight is null)
        {
            return nn.functional.layer_norm(x, shape, eps: epsilon);
        }

        using var wide = weight.to(ScalarType.Float32);
        using var wideBias = bias!.to(ScalarType.Float32);
        return nn.functional.layer_norm(x, shape, wide, wideBias, epsilon);
    }
}
