using System.Collections.Concurrent;
using System.Security.Cryptography;
using MetaQuery.Data;

namespace MetaQuery.Farm;

/// <summary>Pictures under their hashes: <c>FOLDER/SHA256</c>. What is in it never changes; many processes may read one folder. Thread-safe.</summary>
/// <param name="path">The folder; it may not be there yet.</param>
public sealed class PictureFolder(string path) : IPictureSource, IPictureKeeper
{
    private const int HashCharacters = 64;

    /// <exception cref="PictureException">It is not in the folder, or is damaged.</exception>
    /// <exception cref="PictureOutageException">The folder is not there, or gives nothing.</exception>
    public ReadOnlyMemory<byte> Read(string sha256)
    {
        byte[] file;
        try
        {
            file = File.ReadAllBytes(PathOf(sha256));
        }
        catch (FileNotFoundException exception)
        {
            throw new PictureException($"picture {sha256[..12]}… is not in {path}, which this process should share with the head", exception);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw new PictureOutageException($"{path}, which this process should share with the head, cannot be read: {exception.Message}", exception);
        }

        string found = Convert.ToHexStringLower(SHA256.HashData(file));
        return found == sha256 ? file : throw new PictureException($"{PathOf(sha256)} is damaged: its sha256 is {found}");
    }

    public bool IsReachable => Directory.Exists(path);

    void IPictureKeeper.Keep(string sha256, ReadOnlySpan<byte> file) => Keep(sha256, file);

    internal void Keep(string sha256, ReadOnlySpan<byte> file)
    {
        string place = PathOf(sha256);
        if (new FileInfo(place) is { Exists: true } there && there.Length == file.Length)
        {
            return;
        }

        try
        {
            Directory.CreateDirectory(path);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw StorageException.From(exception, path);
        }

        AtomicFile.WriteAllBytes(place, file);
    }

    /// <summary>Hashes of all that is there.</summary>
    internal IEnumerable<string> List() =>
        Directory.Exists(path) ? Directory.EnumerateFiles(path).Select(Path.GetFileName).OfType<string>().Where(IsHash) : [];

    internal void Remove(string sha256)
    {
        try
        {
            File.Delete(PathOf(sha256));
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            // the next head finds it without a holder and tries again
        }
    }

    /// <summary>Removes what a writer that died left. Only for the folder's one owner.</summary>
    internal void RemoveLeftovers()
    {
        if (Directory.Exists(path))
        {
            AtomicFile.RemoveLeftovers(path);
        }
    }

    private static bool IsHash(string name) => name.Length == HashCharacters && name.All(char.IsAsciiHexDigitLower);

    private string PathOf(string sha256) => IsHash(sha256) ? Path.Combine(path, sha256) : throw new PictureException($"\"{sha256}\" is no picture's hash");
}

/// <summary>Pictures of a run that leaves nothing behind.</summary>
internal sealed class MemoryPictures : IPictureSource, IPictureKeeper
{
    private readonly ConcurrentDictionary<string, byte[]> _files = new(StringComparer.Ordinal);

    public ReadOnlyMemory<byte> Read(string sha256) => _files.TryGetValue(sha256, out byte[]? file) ? file : throw new PictureException($"picture {sha256} was not kept");

    public void Keep(string sha256, ReadOnlySpan<byte> file)
    {
        if (!_files.ContainsKey(sha256))
        {
            _files[sha256] = file.ToArray();
        }
    }
}
