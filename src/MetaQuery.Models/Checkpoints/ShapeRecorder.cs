using System.Collections.Concurrent;
using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Models.Checkpoints;

/// <summary>A source without data: it notes which tensors a model asks for, and of which shapes, and gives it tensors on the device "meta".</summary>
/// <remarks>What a checkpoint must hold is so what the modules load, and is written down nowhere else. Thread-safe, as sources are: some parts load their layers side by side.</remarks>
public sealed class ShapeRecorder : WeightSource
{
    private readonly ConcurrentDictionary<string, long[]> shapes = new(StringComparer.Ordinal);

    public override string Path => "shapes";

    public override IReadOnlyCollection<string> Keys => [.. shapes.Keys];

    /// <summary>What was asked for, by name: the order of asking is a matter of chance.</summary>
    public IEnumerable<(string Key, long[] Shape)> Asked => shapes.OrderBy(pair => pair.Key, StringComparer.Ordinal).Select(pair => (pair.Key, pair.Value));

    /// <summary>Names that older checkpoints have are not offered.</summary>
    public override bool Contains(string key) => false;

    public override WeightInfo Describe(string key) => throw CheckpointException.OfTensor(Path, key, "a source of shapes does not know it before it is asked for");

    public override Tensor Load(string key, ScalarType? dtype = null) => throw CheckpointException.OfTensor(Path, key, "a source of shapes must be told the shape");

    public override Tensor Load(string key, long[] expectedShape, ScalarType? dtype = null)
    {
        ArgumentNullException.ThrowIfNull(expectedShape);
        shapes[key] = expectedShape;
        return empty(expectedShape, dtype: dtype ?? ScalarType.Float32, device: META);
    }
}
