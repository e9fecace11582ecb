using Microsoft.Win32.SafeHandles;

namespace MetaQuery.Data;

/// <summary>Where each sample of a shard lies, so that one can be read without the rest. Only the headers are read to make it.</summary>
public sealed class ShardIndex
{
    private readonly string _path;
    private readonly SortedList<string, List<(string Extension, long Offset, int ByteLength)>> _samples;

    private ShardIndex(string path, SortedList<string, List<(string Extension, long Offset, int ByteLength)>> samples)
    {
        _path = path;
        _samples = samples;
    }

    /// <summary>Keys, ascending.</summary>
    public IList<string> Keys => _samples.Keys;

    /// <exception cref="ShardFormatException">Not a shard, or cut short.</exception>
    public static ShardIndex Open(string path)
    {
        using SafeFileHandle file = OpenFile(path);
        var samples = new SortedList<string, List<(string, long, int)>>(StringComparer.Ordinal);
        var block = new byte[TarHeader.BlockBytes];
        long length = RandomAccess.GetLength(file);
        for (long at = 0; at + TarHeader.BlockBytes <= length;)
        {
            RandomAccess.Read(file, block, at);
            if (!TarHeader.TryRead(block, out string name, out long byteLength))
            {
                return new ShardIndex(path, samples);
            }

            int dot = name.IndexOf('.', name.LastIndexOf('/') + 1);
            if (dot <= 0 || byteLength > Array.MaxLength || byteLength > length - at - TarHeader.BlockBytes)
            {
                throw new ShardFormatException($"{path}, byte {at}: the entry \"{name}\" of {byteLength} bytes is no file of a sample, or does not fit into the shard");
            }

            if (!samples.TryGetValue(name[..dot], out List<(string, long, int)>? files))
            {
                samples.Add(name[..dot], files = []);
            }

            files.Add((name[(dot + 1)..], at + TarHeader.BlockBytes, (int)byteLength));
            at += TarHeader.BlockBytes + ((byteLength + TarHeader.BlockBytes - 1) & -TarHeader.BlockBytes);
        }

        throw new ShardFormatException($"{path}: the shard is cut short: it has no end mark");
    }

    /// <summary>Reads one sample.</summary>
    /// <returns>Null where the shard has no such key.</returns>
    /// <exception cref="ShardFormatException">The file changed since it was indexed.</exception>
    public ShardSample? Read(string key)
    {
        if (!_samples.TryGetValue(key, out List<(string Extension, long Offset, int ByteLength)>? files))
        {
            return null;
        }

        using SafeFileHandle file = OpenFile(_path);
        var read = new List<ShardFile>(files.Count);
        foreach ((string extension, long offset, int byteLength) in files)
        {
            var content = new byte[byteLength];
            for (int done = 0; done < byteLength;)
            {
                int got = RandomAccess.Read(file, content.AsSpan(done), offset + done);
                done += got > 0 ? got : throw new ShardFormatException($"{_path}: is shorter than when it was looked through");
            }

            read.Add(new ShardFile(extension, content));
        }

        return new ShardSample(key, read);
    }

    private static SafeFileHandle OpenFile(string path)
    {
        try
        {
            return File.OpenHandle(path);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw new ShardFormatException($"{path}: {exception.Message}", exception);
        }
    }
}
