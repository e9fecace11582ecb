using System.Text;
using System.Text.Json;

namespace MetaQuery.Data;

/// <summary>The first line of a manifest: what the shards were made from.</summary>
public sealed record ManifestHeader
{
    /// <summary>SHA-256 of the job's canonical specification, lower-case hex.</summary>
    public required string JobHash { get; init; }

    /// <summary>The specification itself, a JSON object on one line, so that a reader can say which fields differ.</summary>
    public required string JobSpecJson { get; init; }

    public required string ModelRevision { get; init; }

    public required string NumericsFingerprint { get; init; }

    /// <summary>What the pictures' bytes depend on besides their pixels (<see cref="Imaging.ImageEncoder.Identity"/>).</summary>
    public required string ImageEncoding { get; init; }
}

/// <summary>
/// manifest.jsonl: append-only; a header, then a line per finished shard. A later line for a shard supersedes the earlier one.
/// A line counts when its newline is there: what a killed writer left of a line is passed over, and cut off by the next writer.
/// One process writes at a time; who owns the folder sees to that. Any may read meanwhile.
/// </summary>
public sealed class Manifest : IDisposable
{
    public const string FileName = "manifest.jsonl";

    private readonly Lock _gate = new();
    private readonly string _path;
    private readonly Dictionary<string, ShardEntry> _shards = new(StringComparer.Ordinal);
    private FileStream? _stream;

    private Manifest(string path, ManifestHeader header)
    {
        _path = path;
        Header = header;
    }

    public ManifestHeader Header { get; }

    /// <summary>The latest line of each shard, by shard name; a snapshot.</summary>
    public IReadOnlyDictionary<string, ShardEntry> Shards
    {
        get
        {
            lock (_gate)
            {
                return new Dictionary<string, ShardEntry>(_shards, StringComparer.Ordinal);
            }
        }
    }

    /// <summary>Writes a new manifest, which appears whole with its header, and opens it.</summary>
    /// <exception cref="ManifestException">There is one already.</exception>
    /// <exception cref="StorageException">It cannot be written.</exception>
    public static Manifest Create(string path, ManifestHeader header)
    {
        if (File.Exists(path))
        {
            throw new ManifestException($"{path}: exists already");
        }

        AtomicFile.WriteAllBytes(path, ManifestLine.Write(header));
        return Open(path);
    }

    /// <summary>Opens for appending; what a killed writer left of a last line is cut off.</summary>
    /// <exception cref="ManifestException">Missing, not a manifest, of a version not known here, or a line before the last is malformed.</exception>
    public static Manifest Open(string path)
    {
        FileStream stream = OpenFile(path, FileAccess.ReadWrite);
        try
        {
            Manifest manifest = Parse(path, stream, out long goodBytes);
            if (goodBytes < stream.Length)
            {
                stream.SetLength(goodBytes);
                stream.Flush(flushToDisk: true);
            }

            stream.Position = goodBytes;
            manifest._stream = stream;
            return manifest;
        }
        catch
        {
            stream.Dispose();
            throw;
        }
    }

    /// <summary>Reads without changing anything.</summary>
    /// <exception cref="ManifestException">As <see cref="Open"/>.</exception>
    public static Manifest Load(string path)
    {
        using FileStream stream = OpenFile(path, FileAccess.Read);
        return Parse(path, stream, out _);
    }

    /// <summary>Appends and syncs a line: from then on the shard counts. Thread-safe.</summary>
    /// <exception cref="StorageException">The line could not be written; the manifest is as it was before.</exception>
    /// <exception cref="InvalidOperationException">It was opened by <see cref="Load"/>.</exception>
    public void Append(ShardEntry entry)
    {
        byte[] line = ManifestLine.Write(entry);
        lock (_gate)
        {
            FileStream stream = _stream ?? throw new InvalidOperationException($"{_path} was opened for reading alone");
            long before = stream.Position;
            try
            {
                stream.Write(line);
                stream.Flush(flushToDisk: true);
            }
            catch (IOException exception)
            {
                stream.SetLength(before); // shrinking needs no space
                stream.Position = before;
                throw StorageException.From(exception, _path);
            }

            _shards[entry.Shard] = entry;
        }
    }

    public void Dispose()
    {
        lock (_gate)
        {
            _stream?.Dispose();
            _stream = null;
        }
    }

    private static FileStream OpenFile(string path, FileAccess access)
    {
        try
        {
            // no buffer: a line is one write, and an error leaves nothing behind that a later flush would write
            return new FileStream(path, FileMode.Open, access, access == FileAccess.Read ? FileShare.ReadWrite : FileShare.Read, bufferSize: 0);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw new ManifestException($"{path}: {exception.Message}", exception);
        }
    }

    private static Manifest Parse(string path, FileStream stream, out long goodBytes)
    {
        byte[] content = new byte[stream.Length];
        stream.ReadExactly(content);
        Manifest? manifest = null;
        int start = 0;
        for (int number = 1; content.AsSpan(start).IndexOf((byte)'\n') is >= 0 and int length; number++, start += length + 1)
        {
            ReadOnlyMemory<byte> line = content.AsMemory(start, length);
            bool last = start + length + 1 == content.Length;
            try
            {
                if (manifest is null)
                {
                    manifest = new Manifest(path, ManifestLine.ReadHeader(line));
                }
                else
                {
                    ShardEntry entry = ManifestLine.ReadShard(line);
                    manifest._shards[entry.Shard] = entry;
                }
            }
            catch (Exception exception) when (exception is JsonException or InvalidOperationException or FormatException or KeyNotFoundException)
            {
                if (last && manifest is not null && line.Span.Contains((byte)0))
                {
                    break; // after a loss of power a file may be longer than what was synced, with zeros in place of the rest
                }

                throw new ManifestException($"{path}, line {number}: {exception.Message}", exception);
            }
        }

        goodBytes = start;
        return manifest ?? throw new ManifestException($"{path}: has no header line");
    }
}

/// <summary>A manifest that cannot be used.</summary>
public sealed class ManifestException(string message, Exception? inner = null) : Exception(message, inner)
{
    public bool IsTransient => false;
}

/// <summary>The lines of a manifest as they stand in the file. Names and order are frozen: version 1.</summary>
internal static class ManifestLine
{
    private const string FormatName = "metaquery.manifest";
    private const int FormatVersion = 1;

    public static byte[] Write(ManifestHeader header)
    {
        using (JsonDocument spec = JsonDocument.Parse(header.JobSpecJson))
        {
            if (spec.RootElement.ValueKind != JsonValueKind.Object || header.JobSpecJson.AsSpan().ContainsAny('\r', '\n'))
            {
                throw new ArgumentException("the job's specification is not a JSON object on one line", nameof(header));
            }
        }

        return JsonText.Line(writer =>
        {
            writer.WriteString("format", FormatName);
            writer.WriteNumber("version", FormatVersion);
            writer.WriteString("job", header.JobHash);
            writer.WriteString("model_revision", header.ModelRevision);
            writer.WriteString("numerics", header.NumericsFingerprint);
            writer.WriteString("image_encoding", header.ImageEncoding);
            writer.WritePropertyName("spec");
            writer.WriteRawValue(header.JobSpecJson);
        });
    }

    public static byte[] Write(ShardEntry entry) => JsonText.Line(writer =>
    {
        writer.WriteString("shard", entry.Shard);
        writer.WriteString("sha256", entry.Sha256);
        writer.WriteNumber("bytes", entry.ByteLength);
        writer.WriteNumber("samples", entry.SampleCount);
        writer.WriteString("first_key", entry.FirstKey);
        writer.WriteString("last_key", entry.LastKey);
        writer.WriteNumber("failed", entry.FailedCount);
    });

    public static ManifestHeader ReadHeader(ReadOnlyMemory<byte> line)
    {
        using JsonDocument document = JsonDocument.Parse(line);
        JsonElement root = document.RootElement;
        if (root.GetProperty("format").GetString() is var format && format != FormatName)
        {
            throw new FormatException($"the format is \"{format}\", not \"{FormatName}\"");
        }

        if (root.GetProperty("version").GetInt32() is var version && version != FormatVersion)
        {
            throw new FormatException($"version {version} is not known here; this program reads version {FormatVersion}");
        }

        return new ManifestHeader
        {
            JobHash = Text(root, "job"),
            ModelRevision = Text(root, "model_revision"),
            NumericsFingerprint = Text(root, "numerics"),
            ImageEncoding = Text(root, "image_encoding"),
            JobSpecJson = root.GetProperty("spec").GetRawText(),
        };
    }

    public static ShardEntry ReadShard(ReadOnlyMemory<byte> line)
    {
        using JsonDocument document = JsonDocument.Parse(line);
        JsonElement root = document.RootElement;
        return new ShardEntry
        {
            Shard = Text(root, "shard"),
            Sha256 = Text(root, "sha256"),
            ByteLength = root.GetProperty("bytes").GetInt64(),
            SampleCount = root.GetProperty("samples").GetInt32(),
            FirstKey = root.GetProperty("first_key").GetString(),
            LastKey = root.GetProperty("last_key").GetString(),
            FailedCount = root.GetProperty("failed").GetInt32(),
        };
    }

    private static string Text(JsonElement root, string name) =>
        root.GetProperty(name).GetString() ?? throw new FormatException($"\"{name}\" is null");
}
