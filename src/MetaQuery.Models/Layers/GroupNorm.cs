using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Models.Layers;

/// <summary>Norm over groups of channels and all positions of [B, C, height, width], in float32; keeps the order in memory.</summary>
internal sealed class GroupNorm
{
    private readonly Tensor weight;
    private readonly Tensor bias;
    private readonly long groups;
    private readonly double epsilon;

    public GroupNorm(ParameterScope scope, long channels, long groups, double epsilon)
    {
        weight = scope.Load("weight", channels);
        bias = scope.Load("bias", channels);
        (this.groups, this.epsilon) = (groups, epsilon);
    }

    /// <param name="x">[B, C, height, width].</param>
    /// <returns>float32.</returns>
    public Tensor Forward(Tensor x)
    {
        using var scope = NewDisposeScope();
        return nn.functional.group_norm(x.to(ScalarType.Float32), groups, weight.to(ScalarType.Float32), bias.to(ScalarType.Float32), epsilon).MoveToOuterDisposeScope();
    }
}
