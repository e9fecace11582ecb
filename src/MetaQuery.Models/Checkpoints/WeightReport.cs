using System.Text;

namespace MetaQuery.Models.Checkpoints;

/// <summary>A tensor whose shape is not the one that the model needs.</summary>
public sealed record MisshapenWeight(string Key, IReadOnlyList<long> Shape, IReadOnlyList<long> ExpectedShape);

/// <summary>How the tensors of a checkpoint and the parameters of a model agree.</summary>
/// <param name="Path">The checkpoint.</param>
/// <param name="Missing">Parameters that the checkpoint lacks.</param>
/// <param name="Unexpected">Tensors for which the model has no place.</param>
/// <param name="Misshapen">Tensors of another shape.</param>
public sealed record WeightReport(string Path, IReadOnlyList<string> Missing, IReadOnlyList<string> Unexpected, IReadOnlyList<MisshapenWeight> Misshapen)
{
    const int MostNamed = 20;

    /// <summary>Every parameter has its tensor, in its shape, and nothing is left over.</summary>
    public bool IsExact => Missing.Count + Unexpected.Count + Misshapen.Count == 0;

    /// <summary>Compares names and shapes; no tensor is loaded.</summary>
    /// <param name="source">The checkpoint, or the part of it that belongs to the model.</param>
    /// <param name="expected">The model's parameters.</param>
    /// <param name="mayBeUnexpected">True for names that the model leaves aside knowingly, such as rotary tables.</param>
    public static WeightReport Compare(WeightSource source, IEnumerable<KeyValuePair<string, long[]>> expected, Func<string, bool>? mayBeUnexpected = null)
    {
        ArgumentNullException.ThrowIfNull(source);
        ArgumentNullException.ThrowIfNull(expected);
        List<string> missing = [];
        List<MisshapenWeight> misshapen = [];
        HashSet<string> known = [];
        foreach (var (key, shape) in expected)
        {
            known.Add(key);
            if (!source.Contains(key))
                missing.Add(key);
            else if (source.Describe(key).Shape is var stored && !stored.SequenceEqual(shape))
                misshapen.Add(new MisshapenWeight(key, stored, shape));
        }
        string[] unexpected = [.. source.Keys.Where(key => !known.Contains(key) && mayBeUnexpected?.Invoke(key) is not true)];
        return new WeightReport(source.Path, missing, unexpected, misshapen);
    }

    /// <exception cref="CheckpointException">Something is missing, misshapen or left over: the message is <see cref="ToString"/>.</exception>
    public void ThrowUnlessExact()
    {
        if (!IsExact)
            throw new CheckpointException(ToString());
    }

    /// <summary>One line: the file, and what disagrees, the first twenty of each kind by name.</summary>
    public override string ToString()
    {
        if (IsExact)
            return $"{Path}: every tensor has its place";
        var text = new StringBuilder(Path).Append(": the tensors do not fit the model:");
        char separator = ' ';
        Append("missing", Missing, static key => CheckpointException.Quote(key));
        Append("of another shape", Misshapen, static weight =>
            $"{CheckpointException.Quote(weight.Key)} ({WeightSource.ShapeText(weight.Shape)}, the model needs {WeightSource.ShapeText(weight.ExpectedShape)})");
        Append("unexpected", Unexpected, static key => CheckpointException.Quote(key));
        return text.ToString();

        void Append<T>(string what, IReadOnlyList<T> items, Func<T, string> name)
        {
            if (items.Count == 0)
                return;
            text.Append(separator == ' ' ? " " : "; ").Append(items.Count).Append(' ').Append(what).Append(": ").AppendJoin(", ", items.Take(MostNamed).Select(name));
            if (items.Count > MostNamed)
                text.Append(", …");
            separator = ';';
        }
    }
}
