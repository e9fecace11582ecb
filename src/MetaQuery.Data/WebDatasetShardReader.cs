namespace MetaQuery.Data;

/// <summary>Reads shards back, sample by sample: those of <see cref="WebDatasetShardWriter"/> and img2dataset's.</summary>
public static class WebDatasetShardReader
{
    /// <summary>Streams the samples in the file's order; memory holds one of them.</summary>
    /// <exception cref="ShardFormatException">Not a tar file, cut short, or with an entry that is not {key}.{extension}.</exception>
    public static IEnumerable<ShardSample> Read(string path)
    {
        using FileStream stream = Open(path);
        foreach (ShardSample sample in Read(stream, path))
        {
            yield return sample;
        }
    }

    /// <inheritdoc cref="Read(string)"/>
    /// <param name="stream">Read to its end mark, and not closed.</param>
    /// <param name="name">What messages call it.</param>
    public static IEnumerable<ShardSample> Read(Stream stream, string name)
    {
        string? key = null;
        var files = new List<ShardFile>();
        while (ReadEntry(stream, name) is (string entry, byte[] content))
        {
            int slash = entry.LastIndexOf('/');
            int dot = entry.IndexOf('.', slash + 1); // WebDataset's rule: the key ends at the first dot of the base name
            if (dot <= slash + 1 || dot == entry.Length - 1)
            {
                throw new ShardFormatException($"{name}: the entry \"{entry}\" is not a key, a dot and an extension");
            }

            if (key is not null && key != entry[..dot])
            {
                yield return new ShardSample(key, files.ToArray());
                files.Clear();
            }

            key = entry[..dot];
            files.Add(new ShardFile(entry[(dot + 1)..], content));
        }

        if (key is not null)
        {
            yield return new ShardSample(key, files.ToArray());
        }
    }

    private static FileStream Open(string path)
    {
        try
        {
            return new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.Read, 1 << 18, FileOptions.SequentialScan);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw new ShardFormatException($"{path}: {exception.Message}", exception);
        }
    }

    private static (string Name, byte[] Content)? ReadEntry(Stream stream, string shard)
    {
        Span<byte> block = stackalloc byte[TarHeader.BlockBytes];
        long at = stream.CanSeek ? stream.Position : -1;
        string name;
        long byteLength;
        try
        {
            ReadFully(stream, block, "a header");
            if (!TarHeader.TryRead(block, out name, out byteLength))
            {
                return null;
            }

            // a size that the file cannot hold is refused before it is allocated
            if (byteLength > Array.MaxLength || (stream.CanSeek && byteLength > stream.Length - stream.Position))
            {
                throw new ShardFormatException($"the entry \"{name}\" says {byteLength} bytes, more than the file holds");
            }

            byte[] content = new byte[byteLength];
            ReadFully(stream, content, $"the entry \"{name}\"");
            ReadFully(stream, block[..(int)(-byteLength & (TarHeader.BlockBytes - 1))], $"the padding of \"{name}\"");
            return (name, content);
        }
        catch (ShardFormatException exception)
        {
            throw new ShardFormatException($"{shard}{(at < 0 ? "" : $", byte {at}")}: {exception.Message}");
        }
    }

    private static void ReadFully(Stream stream, Span<byte> buffer, string what)
    {
        int read = stream.ReadAtLeast(buffer, buffer.Length, throwOnEndOfStream: false);
        if (read < buffer.Length)
        {
            throw new ShardFormatException($"the file ends inside {what}: {read} of {buffer.Length} bytes");
        }
    }
}
