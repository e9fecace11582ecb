using MetaQuery.Models.Checkpoints;

namespace MetaQuery.Pipelines;

/// <summary>The tensors of one part of a model, under the part's own names: a file of their own, or some of a checkpoint of the reference.</summary>
/// <param name="file">Owned from here on.</param>
/// <param name="prefix">What the part's names begin with in that file.</param>
public sealed class PartWeights(WeightSource file, string prefix = "") : IDisposable
{
    // MetaQuery of facebookresearch/metaquery: self.model.transformer, whichever network it is, and self.vae.
    internal const string NetworkPrefix = "model.transformer.";
    internal const string VaePrefix = "vae.";

    public WeightSource Source { get; } = file.WithPrefix(prefix);

    internal static bool Holds(WeightSource file, string prefix) => file.Keys.Any(key => key.StartsWith(prefix, StringComparison.Ordinal));

    public void Dispose() => file.Dispose();
}
