using MetaQuery.Models.Checkpoints;
using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Models.Tests.OddSizes;

/// <summary>A checkpoint of any sizes: each tensor is drawn from its own name, scaled so that activations keep their size.</summary>
internal sealed class RandomWeights(IReadOnlyDictionary<string, long[]> shapes) : WeightSource
{
    public override string Path => "random weights";

    public override IReadOnlyCollection<string> Keys => [.. shapes.Keys];

    public override bool Contains(string key) => shapes.ContainsKey(key);

    public override WeightInfo Describe(string key) =>
        new(key, shapes[key], ScalarType.Float32, "F32", 4 * shapes[key].Aggregate(1L, (product, size) => product * size));

    public override Tensor Load(string key, ScalarType? dtype = null)
    {
        using var scope = NewDisposeScope();
        var shape = shapes[key];
        using var generator = new Generator(key.Aggregate(17UL, (seed, letter) => (seed * 31) + letter));
        var inputs = shape.Skip(1).Aggregate(1L, (product, size) => product * size);
        var values = randn(shape, dtype: ScalarType.Float32, generator: generator);
        // Norms' weights lie around 1, biases are small.
        values = shape.Length > 1 ? values / Math.Sqrt(inputs) : (values * 0.2) + (key.EndsWith("bias", StringComparison.Ordinal) ? 0 : 1);
        return values.to(dtype ?? ScalarType.Float32).MoveToOuterDisposeScope();
    }
}
