using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Models.Checkpoints;

/// <summary>A source under other names. Disposing it does nothing: the source stays the owner.</summary>
/// <param name="source">Knows the tensors under the file's names.</param>
/// <param name="toFile">A name here to the file's.</param>
/// <param name="fromFile">Its inverse.</param>
sealed class RenamedWeights(WeightSource source, Func<string, string> toFile, Func<string, string> fromFile) : WeightSource
{
    string[]? keys;

    public override string Path => source.Path;

    public override IReadOnlyCollection<string> Keys => keys ??= [.. source.Keys.Select(fromFile)];

    public override bool Contains(string key) => source.Contains(toFile(key));

    public override WeightInfo Describe(string key) => source.Describe(toFile(key)) with { Key = key };

    public override Tensor Load(string key, ScalarType? dtype = null) => source.Load(toFile(key), dtype);

    public override Tensor Load(string key, long[] expectedShape, ScalarType? dtype = null) => source.Load(toFile(key), expectedShape, dtype);

    internal override string FullName(string key) => source.FullName(toFile(key));
}
