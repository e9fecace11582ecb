using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Models.Checkpoints;

/// <summary>What a checkpoint says of one tensor.</summary>
/// <param name="Key">The tensor's name.</param>
/// <param name="Shape">Sizes, outermost first (as in PyTorch); empty for a scalar.</param>
/// <param name="Dtype">What <see cref="WeightSource.Load(string, ScalarType?)"/> gives unless asked otherwise: the stored dtype, or float32 where
/// the stored type has none here (float8, quantised blocks).</param>
/// <param name="StoredType">The format's own name of the stored type: "BF16", "F8_E4M3", "Q4_1".</param>
/// <param name="StoredBytes">Size in the file.</param>
public sealed record WeightInfo(string Key, IReadOnlyList<long> Shape, ScalarType Dtype, string StoredType, long StoredBytes);

/// <summary>Named tensors of a checkpoint, read one by one when a model asks for them.</summary>
/// <remarks>Loading is safe from several threads at once; disposing is not.</remarks>
public abstract class WeightSource : IDisposable
{
    /// <summary>The file or folder that errors name.</summary>
    public abstract string Path { get; }

    /// <summary>All names, in the order in which the file stores them.</summary>
    public abstract IReadOnlyCollection<string> Keys { get; }

    public abstract bool Contains(string key);

    /// <exception cref="CheckpointException">There is no such tensor.</exception>
    public abstract WeightInfo Describe(string key);

    /// <summary>The tensor, on the CPU; the caller owns it. Where <paramref name="dtype"/> is the stored one and the data is aligned, it
    /// lies in a private mapping of the file (writing to it changes neither the file nor another load); otherwise it is a copy.</summary>
    /// <exception cref="CheckpointException">There is no such tensor, or its type cannot be read.</exception>
    public abstract Tensor Load(string key, ScalarType? dtype = null);

    /// <inheritdoc cref="Load(string, ScalarType?)"/>
    /// <exception cref="CheckpointException">As above, or the tensor has another shape than <paramref name="expectedShape"/>.</exception>
    public virtual Tensor Load(string key, long[] expectedShape, ScalarType? dtype = null)
    {
        ArgumentNullException.ThrowIfNull(expectedShape);
        var info = Describe(key);
        if (!info.Shape.SequenceEqual(expectedShape))
            throw CheckpointException.OfTensor(Path, FullName(key), $"its shape is {ShapeText(info.Shape)}, the model needs {ShapeText(expectedShape)}");
        return Load(key, dtype);
    }

    /// <summary>A view of the tensors whose names begin with <paramref name="prefix"/>, under names without it. Disposing it does nothing:
    /// this source stays the owner.</summary>
    public WeightSource WithPrefix(string prefix) => prefix.Length == 0 ? this : new PrefixedWeightSource(this, prefix);

    public void Dispose()
    {
        Dispose(disposing: true);
        GC.SuppressFinalize(this);
    }

    protected virtual void Dispose(bool disposing) { }

    /// <summary>The name under which the file knows <paramref name="key"/>: a view puts its prefix back.</summary>
    internal virtual string FullName(string key) => key;

    internal static string ShapeText(IEnumerable<long> shape) => $"[{string.Join(", ", shape)}]";
}

/// <summary>The part of a source below a prefix.</summary>
sealed class PrefixedWeightSource(WeightSource parent, string prefix) : WeightSource
{
    string[]? keys;

    public override string Path => parent.Path;

    public override IReadOnlyCollection<string> Keys =>
        keys ??= [.. parent.Keys.Where(key => key.StartsWith(prefix, StringComparison.Ordinal)).Select(key => key[prefix.Length..])];

    public override bool Contains(string key) => parent.Contains(prefix + key);

    public override WeightInfo Describe(string key) => parent.Describe(prefix + key) with { Key = key };

    public override Tensor Load(string key, ScalarType? dtype = null) => parent.Load(prefix + key, dtype);

    public override Tensor Load(string key, long[] expectedShape, ScalarType? dtype = null) => parent.Load(prefix + key, expectedShape, dtype);

    internal override string FullName(string key) => parent.FullName(prefix + key);
}
