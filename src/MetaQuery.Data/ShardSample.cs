namespace MetaQuery.Data;

/// <summary>One file of a sample.</summary>
/// <param name="Extension">Without its dot: png, txt, json.</param>
/// <param name="Content">The bytes.</param>
public readonly record struct ShardFile(string Extension, ReadOnlyMemory<byte> Content);

/// <summary>A sample read back from a shard.</summary>
public sealed record ShardSample(string Key, IReadOnlyList<ShardFile> Files)
{
    /// <summary>The bytes of the file with this extension, or null.</summary>
    public ReadOnlyMemory<byte>? Find(string extension)
    {
        foreach (ShardFile file in Files)
        {
            if (file.Extension == extension)
            {
                return file.Content;
            }
        }

        return null;
    }
}

/// <summary>What a finished shard is: a line of the manifest.</summary>
public sealed record ShardEntry
{
    public required string Shard { get; init; }

    /// <summary>Of the tar file, lower-case hex.</summary>
    public required string Sha256 { get; init; }

    public required long ByteLength { get; init; }

    public required int SampleCount { get; init; }

    public required string? FirstKey { get; init; }

    public required string? LastKey { get; init; }

    /// <summary>Samples that belong here and could not be made.</summary>
    public int FailedCount { get; init; }
}

/// <summary>A shard that is no tar file, is cut short, or holds what WebDataset does not.</summary>
public sealed class ShardFormatException(string message, Exception? inner = null) : Exception(message, inner)
{
    public bool IsTransient => false;
}
