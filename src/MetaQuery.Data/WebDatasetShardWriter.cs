using System.Buffers;
using System.Security.Cryptography;
using System.Text;

namespace MetaQuery.Data;

/// <summary>
/// Writes one WebDataset shard as a stream: ustar, entries {key}.{extension} in the order of keys and, within a sample, of extensions.
/// The bytes depend on the samples alone. It is written to a temporary name and appears under its own name at <see cref="Commit"/>, or never.
/// Not thread-safe.
/// </summary>
public sealed class WebDatasetShardWriter : IDisposable
{
    private static readonly SearchValues<char> KeyCharacters = SearchValues.Create("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_");
    private static readonly SearchValues<char> ExtensionCharacters = SearchValues.Create("0123456789abcdefghijklmnopqrstuvwxyz_.");
    private static readonly byte[] Zeros = new byte[TarHeader.RecordBytes + (2 * TarHeader.BlockBytes)]; // the most that ends an archive

    private readonly AtomicFile _file;
    private readonly IncrementalHash _hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
    private readonly string _shardName;
    private string? _firstKey;
    private string? _lastKey;
    private int _sampleCount;
    private long _byteLength;
    private bool _failed;

    /// <param name="folder">Must exist.</param>
    /// <param name="shardName">A file name, as of <see cref="ShardLayout.ShardName"/>.</param>
    /// <exception cref="StorageException">The folder cannot be written to.</exception>
    public WebDatasetShardWriter(string folder, string shardName)
    {
        if (shardName.Length == 0 || Path.GetFileName(shardName) != shardName)
        {
            throw new ArgumentException($"\"{shardName}\" is not a file name", nameof(shardName));
        }

        _shardName = shardName;
        _file = AtomicFile.Create(Path.Combine(folder, shardName), bufferBytes: 1 << 18);
    }

    /// <summary>Appends a sample.</summary>
    /// <param name="key">Letters, digits, - and _; greater than the key before, in ordinal order.</param>
    /// <param name="files">At least one, in any order, each extension once.</param>
    /// <exception cref="ArgumentException">A key out of order, or a name that WebDataset would take apart otherwise.</exception>
    /// <exception cref="StorageException">The disk is full; the writer can only be disposed of now.</exception>
    public void Add(string key, params IReadOnlyList<ShardFile> files)
    {
        ThrowIfFailed();
        CheckNames(key, files);
        ShardFile[] sorted = [.. files];
        Array.Sort(sorted, static (a, b) => string.CompareOrdinal(a.Extension, b.Extension));
        try
        {
            foreach (ShardFile file in sorted)
            {
                WriteEntry($"{key}.{file.Extension}", file.Content.Span);
            }
        }
        catch (IOException exception)
        {
            _failed = true;
            throw StorageException.From(exception, _file.FinalPath);
        }

        _firstKey ??= key;
        _lastKey = key;
        _sampleCount++;
    }

    /// <summary>Ends the archive, syncs it, moves it to its name and syncs the folder.</summary>
    /// <exception cref="StorageException">The disk is full; nothing stands under the shard's name.</exception>
    public ShardEntry Commit(int failedCount = 0)
    {
        ThrowIfFailed();
        ArgumentOutOfRangeException.ThrowIfNegative(failedCount);
        try
        {
            long end = _byteLength + (2 * TarHeader.BlockBytes);
            long padded = (end + TarHeader.RecordBytes - 1) / TarHeader.RecordBytes * TarHeader.RecordBytes;
            Write(Zeros.AsSpan(0, (int)(padded - _byteLength)));
            _file.Commit();
        }
        catch (IOException exception)
        {
            _failed = true;
            throw StorageException.From(exception, _file.FinalPath);
        }

        return new ShardEntry
        {
            Shard = _shardName,
            Sha256 = Convert.ToHexStringLower(_hash.GetHashAndReset()),
            ByteLength = _byteLength,
            SampleCount = _sampleCount,
            FirstKey = _firstKey,
            LastKey = _lastKey,
            FailedCount = failedCount,
        };
    }

    /// <summary>Removes the temporary file unless committed.</summary>
    public void Dispose()
    {
        _file.Dispose();
        _hash.Dispose();
    }

    private void CheckNames(string key, IReadOnlyList<ShardFile> files)
    {
        if (key.Length == 0 || key.AsSpan().ContainsAnyExcept(KeyCharacters))
        {
            throw new ArgumentException($"the key \"{key}\" is not made of letters, digits, - and _ alone", nameof(key));
        }

        if (_lastKey is not null && string.CompareOrdinal(key, _lastKey) <= 0)
        {
            throw new ArgumentException($"the key \"{key}\" does not come after \"{_lastKey}\"", nameof(key));
        }

        if (files.Count == 0)
        {
            throw new ArgumentException($"the sample \"{key}\" has no files", nameof(files));
        }

        for (int i = 0; i < files.Count; i++)
        {
            string extension = files[i].Extension;
            if (extension.Length == 0 || extension.AsSpan().ContainsAnyExcept(ExtensionCharacters))
            {
                throw new ArgumentException($"the extension \"{extension}\" is not made of lower-case letters, digits, _ and . alone", nameof(files));
            }

            for (int j = 0; j < i; j++)
            {
                if (files[j].Extension == extension)
                {
                    throw new ArgumentException($"the sample \"{key}\" has two files \"{extension}\"", nameof(files));
                }
            }

            if (key.Length + 1 + extension.Length > TarHeader.MaxNameBytes)
            {
                throw new ArgumentException($"\"{key}.{extension}\" is longer than {TarHeader.MaxNameBytes} bytes", nameof(files));
            }
        }
    }

    private void WriteEntry(string name, ReadOnlySpan<byte> content)
    {
        Span<byte> header = stackalloc byte[TarHeader.BlockBytes];
        TarHeader.Write(header, Encoding.ASCII.GetBytes(name), content.Length);
        Write(header);
        Write(content);
        Write(Zeros.AsSpan(0, -content.Length & (TarHeader.BlockBytes - 1)));
    }

    private void Write(ReadOnlySpan<byte> bytes)
    {
        _file.Stream.Write(bytes);
        _hash.AppendData(bytes);
        _byteLength += bytes.Length;
    }

    private void ThrowIfFailed()
    {
        if (_failed)
        {
            throw new InvalidOperationException($"{_file.FinalPath}: writing has failed before; the writer can only be disposed of");
        }
    }
}
