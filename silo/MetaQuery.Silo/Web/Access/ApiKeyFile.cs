using System.Text.Json;
using System.Text.Json.Serialization;
using MetaQuery.Data;

namespace MetaQuery.Silo.Web;

/// <summary>DATA/keys.json: read at start and whenever it has changed, written by <c>./farm keys</c>.</summary>
public sealed class ApiKeyFile
{
    /// <summary>Of the format; frozen by a test.</summary>
    public const int Version = 1;

    private const string Name = "keys.json";
    private readonly string _path;

    /// <param name="dataFolder">The head's data folder; made where there is none.</param>
    public ApiKeyFile(string dataFolder) => _path = Path.Combine(dataFolder, Name);

    /// <summary>All keys, also revoked ones; none where there is no file.</summary>
    /// <exception cref="ApiKeyException">The file is damaged, or cannot be read.</exception>
    public IReadOnlyList<ApiKey> Read()
    {
        try
        {
            KeysDocument document = JsonSerializer.Deserialize(File.ReadAllBytes(_path), KeysJson.Default.KeysDocument) ?? throw new JsonException("it is empty");
            return document.Version == Version
                ? document.Keys
                : throw new ApiKeyException($"{_path}: version {document.Version} is not known here; version {Version} is");
        }
        catch (Exception exception) when (exception is FileNotFoundException or DirectoryNotFoundException)
        {
            return [];
        }
        catch (JsonException exception)
        {
            throw new ApiKeyException($"{_path}: not a keys.json of this program: {exception.Message}", exception);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw new ApiKeyException($"{_path}: cannot be read: {exception.Message}", exception);
        }
    }

    /// <summary>Adds a key.</summary>
    /// <exception cref="ApiKeyException">The tenant's name cannot be one.</exception>
    public void Add(ApiKey key)
    {
        ArgumentNullException.ThrowIfNull(key);
        if (!ApiKey.IsTenantName(key.Tenant))
        {
            throw new ApiKeyException($"tenant \"{key.Tenant}\" cannot be a name: 1 to 64 letters, digits, points, dashes and underscores can");
        }

        using FileStream held = Hold();
        Write([.. Read(), key]);
    }

    /// <returns>The key.</returns>
    /// <exception cref="ApiKeyException">There is no such key, or it is revoked already.</exception>
    public ApiKey Revoke(string id, DateTimeOffset now)
    {
        using FileStream held = Hold();
        IReadOnlyList<ApiKey> keys = Read();
        ApiKey found = keys.FirstOrDefault(key => key.Id == id) ?? throw new ApiKeyException($"there is no key {id}; ./farm keys list shows what there is");
        if (found.RevokedAt is { } since)
        {
            throw new ApiKeyException($"key {id} is revoked already, since {since:u}");
        }

        ApiKey revoked = found with { RevokedAt = now };
        Write([.. keys.Select(key => key.Id == id ? revoked : key)]);
        return revoked;
    }

    /// <summary>Changes whenever the file does.</summary>
    internal (DateTime Written, long Bytes) Stamp()
    {
        var file = new FileInfo(_path);
        return file.Exists ? (file.LastWriteTimeUtc, file.Length) : default;
    }

    // two commands at once must not lose a key: the second one fails, and says that the file is in use
    private FileStream Hold()
    {
        Directory.CreateDirectory(Path.GetDirectoryName(Path.GetFullPath(_path))!);
        return new FileStream(_path + ".lock", FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None);
    }

    private void Write(IReadOnlyList<ApiKey> keys)
    {
        // hashes are no keys, but nobody else's business either
        PrivateFile.Write(_path, JsonSerializer.SerializeToUtf8Bytes(new KeysDocument(Version, keys), KeysJson.Default.KeysDocument));
    }
}

internal sealed record KeysDocument(int Version, IReadOnlyList<ApiKey> Keys);

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower, WriteIndented = true, RespectRequiredConstructorParameters = true, RespectNullableAnnotations = true)]
[JsonSerializable(typeof(KeysDocument))]
internal sealed partial class KeysJson : JsonSerializerContext;
