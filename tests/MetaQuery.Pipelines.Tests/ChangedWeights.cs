using MetaQuery.Models.Checkpoints;
using static TorchSharp.torch;

namespace MetaQuery.Pipelines.Tests;

/// <summary>A source of which some tensors are others: what <paramref name="change"/> makes of them.</summary>
internal sealed class ChangedWeights(WeightSource source, Func<string, bool> isChanged, Func<Tensor, Tensor> change) : WeightSource
{
    public override string Path => source.Path;

    public override IReadOnlyCollection<string> Keys => source.Keys;

    public override bool Contains(string key) => source.Contains(key);

    public override WeightInfo Describe(string key) => source.Describe(key);

    public override Tensor Load(string key, ScalarType? dtype = null)
    {
        var tensor = source.Load(key, dtype);
        if (!isChanged(key))
            return tensor;
        using (tensor)
            return change(tensor);
    }
}
