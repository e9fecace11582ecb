using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Models.Layers;

/// <summary>y = x Wᵀ + b, computed in the weight's dtype.</summary>
internal sealed class Linear
{
    private readonly Tensor weight;
    private readonly Tensor? bias;

    public Linear(ParameterScope scope, long inputs, long outputs, bool bias = true)
    {
        weight = scope.Load("weight", outputs, inputs);
        this.bias = scope.LoadIf(bias, "bias", outputs);
    }

    /// <param name="x">[..., inputs].</param>
    /// <returns>[..., outputs], in the weight's dtype.</returns>
    public Tensor Forward(Tensor x) => nn.functional.linear(x.to(weight.dtype), weight, bias);
}
