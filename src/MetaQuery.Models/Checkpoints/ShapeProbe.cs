using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Models.Checkpoints;

/// <summary>Stands before a checkpoint while a model is built without its data: gives tensors of the shapes that the model asks for, which hold nothing, and
/// notes them. So a model's own loader is the one place that says what it needs.</summary>
/// <remarks>Only for loaders that read no values: plain operators, on the CPU.</remarks>
public sealed class ShapeProbe(WeightSource stored) : WeightSource
{
    private readonly Lock gate = new(); // some parts load their layers side by side
    private readonly SortedDictionary<string, long[]> asked = new(StringComparer.Ordinal);

    /// <summary>What was asked for: names, in their order, and the shapes that the model needs. To be read once the model is built.</summary>
    public IReadOnlyDictionary<string, long[]> Asked => asked;

    public override string Path => stored.Path;

    public override IReadOnlyCollection<string> Keys => stored.Keys;

    /// <summary>What a checkpoint lacks of a model, or has in another shape, all of it; what it has beside that is not looked at.</summary>
    /// <param name="weights">The checkpoint.</param>
    /// <param name="load">Builds the model from the source that it is given, with plain operators, and disposes it.</param>
    /// <exception cref="CheckpointException">Tensors are missing or misshapen: the message names them.</exception>
    public static void Demand(WeightSource weights, Action<WeightSource> load)
    {
        ArgumentNullException.ThrowIfNull(load);
        using var probe = new ShapeProbe(weights);
        load(probe);
        var report = WeightReport.Compare(weights, probe.Asked, static _ => true);
        // under the names that the file has
        (report with
        {
            Missing = [.. report.Missing.Select(weights.FullName)],
            Misshapen = [.. report.Misshapen.Select(weight => weight with { Key = weights.FullName(weight.Key) })],
        }).ThrowUnlessExact();
    }

    public override bool Contains(string key) => stored.Contains(key);

    public override WeightInfo Describe(string key) => stored.Describe(key);

    public override Tensor Load(string key, ScalarType? dtype = null)
    {
        var info = stored.Describe(key);
        return Load(key, [.. info.Shape], dtype ?? info.Dtype);
    }

    public override Tensor Load(string key, long[] expectedShape, ScalarType? dtype = null)
    {
        ArgumentNullException.ThrowIfNull(expectedShape);
        lock (gate)
        {
            asked[key] = expectedShape;
        }

        return empty(expectedShape, dtype ?? ScalarType.Float32, new Device(DeviceType.META));
    }

    internal override string FullName(string key) => stored.FullName(key);
}
