namespace MetaQuery.Data;

/// <summary>The first line of a manifest: what the shards were made from.</summary>
public sealed record ManifestHeader
{
    /// <summary>SHA-256 of the job's canonical specification, lower-case hex.</summary>
    public required string JobHash { get; init; }

    /// <summary>The specification itself, a JSON object, so that a reader can say which fields differ.</summary>
    public required string JobSpecJson { get; init; }

    public required string ModelRevision { get; init; }

    public required string NumericsFingerprint { get; init; }

    /// <summary>What the pictures' bytes depend on besides their pixels (ImageEncoder.Identity).</summary>
    public required string ImageEncoding { get; init; }
}

/// <summary>manifest.jsonl: append-only, a header and a line per shard; a later line for a shard supersedes the earlier one.</summary>
public sealed class Manifest : IDisposable
{
    public const string FileName = "manifest.jsonl";

    /// <summary>Creates a manifest that must not exist yet; it appears whole, with its header, or not at all.</summary>
    public static Manifest Create(string path, ManifestHeader header) => throw new NotImplementedException();

    /// <summary>Opens for appending; a torn last line is cut off.</summary>
    /// <exception cref="ManifestException">Not a manifest, a version not known here, or a malformed line before the last.</exception>
    public static Manifest Open(string path) => throw new NotImplementedException();

    /// <summary>Reads without changing anything; a torn last line is passed over.</summary>
    public static Manifest Load(string path) => throw new NotImplementedException();

    public ManifestHeader Header => throw new NotImplementedException();

    /// <summary>The latest line of each shard, by shard name.</summary>
    public IReadOnlyDictionary<string, ShardEntry> Shards => throw new NotImplementedException();

    /// <summary>Appends and syncs a line: from then on the shard counts. Thread-safe.</summary>
    public void Append(ShardEntry entry) => throw new NotImplementedException();

    public void Dispose() => throw new NotImplementedException();
}

public sealed class ManifestException(string message, Exception? inner = null) : Exception(message, inner)
{
    public bool IsTransient => false;
}
