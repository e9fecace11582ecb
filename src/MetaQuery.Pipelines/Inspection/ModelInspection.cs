using MetaQuery.Models.Checkpoints;

namespace MetaQuery.Pipelines;

/// <summary>What lies in a model folder, and what it lacks to be a MetaQuery. Reads configurations and headers; no weights are loaded.</summary>
/// <param name="Folder">An absolute path.</param>
/// <param name="Parts">Those that were found.</param>
/// <param name="Lacks">One line each: what is missing or wrong, and where. Empty: the folder can be used.</param>
public sealed record ModelInspection(string Folder, IReadOnlyList<PartInspection> Parts, IReadOnlyList<string> Lacks)
{
    /// <exception cref="CheckpointException">There is no such folder.</exception>
    public static ModelInspection Of(string folder)
    {
        ArgumentException.ThrowIfNullOrEmpty(folder);
        folder = Path.TrimEndingDirectorySeparator(Path.GetFullPath(folder));
        return Directory.Exists(folder) ? new ModelInspector(folder).Inspect() : throw new CheckpointException($"{folder}: there is no such model folder");
    }
}

/// <summary>One part of a model folder as its files have it.</summary>
/// <param name="Name">language model (with its vision tower), queries, connector, transformer, unet, autoencoder, or other weights.</param>
/// <param name="Place">The file that its weights lie in, relative to the model folder.</param>
/// <param name="ClassName">As its configuration states it.</param>
/// <param name="Tensors">In the order of their names, which are the file's.</param>
/// <param name="Missing">Tensors that its configuration asks for and that are not there.</param>
/// <param name="Unexpected">Tensors for which it has no place.</param>
/// <param name="Misshapen">Tensors of another shape.</param>
public sealed record PartInspection(
    string Name, string Place, string? ClassName, IReadOnlyList<WeightInfo> Tensors, IReadOnlyList<string> Missing, IReadOnlyList<string> Unexpected, IReadOnlyList<MisshapenWeight> Misshapen)
{
    /// <summary>Numbers in all tensors.</summary>
    public long Parameters => Tensors.Sum(tensor => tensor.Shape.Aggregate(1L, (product, size) => product * size));

    /// <summary>In the file.</summary>
    public long Bytes => Tensors.Sum(tensor => tensor.StoredBytes);

    /// <summary>The format's names of the stored types, the most frequent first.</summary>
    public IReadOnlyList<string> Dtypes =>
        [.. Tensors.GroupBy(tensor => tensor.StoredType, StringComparer.Ordinal).OrderByDescending(group => group.Count()).ThenBy(group => group.Key, StringComparer.Ordinal).Select(group => group.Key)];
}
