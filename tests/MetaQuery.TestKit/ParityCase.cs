using System.Text.Json;

namespace MetaQuery.TestKit;

/// <summary>A golden case: a folder with a case.json, and beside it what the reference was given and what it gave.</summary>
public sealed partial class ParityCase : IDisposable
{
    private readonly JsonDocument _document;

    private ParityCase(string name, string folder, string kind, JsonDocument document)
    {
        (Name, Folder, Kind, _document) = (name, folder, kind, document);
    }

    /// <summary>The folder relative to the fixtures' root, with forward slashes.</summary>
    public string Name { get; }

    /// <summary>The case's folder, an absolute path.</summary>
    public string Folder { get; }

    public string Kind { get; }

    /// <summary>The whole of case.json.</summary>
    public JsonElement Json => _document.RootElement;

    /// <exception cref="ParityCaseException">case.json is missing, is not a JSON object, or has no kind.</exception>
    public static ParityCase Open(string folder, string name)
    {
        var path = Path.Combine(folder, "case.json");
        JsonDocument document;
        try
        {
            document = JsonDocument.Parse(File.ReadAllBytes(path));
        }
        catch (Exception exception) when (exception is JsonException or IOException or UnauthorizedAccessException)
        {
            throw new ParityCaseException($"{path}: {exception.Message}", exception);
        }

        if (document.RootElement.ValueKind != JsonValueKind.Object
            || !document.RootElement.TryGetProperty("kind", out var kind)
            || kind.ValueKind != JsonValueKind.String || kind.GetString() is not { Length: > 0 } text)
        {
            document.Dispose();
            throw new ParityCaseException($"{path}: has no \"kind\" with the name of a kind");
        }

        return new ParityCase(name, folder, text, document);
    }

    /// <summary>A path inside the case's folder.</summary>
    public string PathOf(params ReadOnlySpan<string> parts) => Path.Combine([Folder, .. parts]);

    public bool Has(params ReadOnlySpan<string> parts) => Path.Exists(PathOf(parts));

    /// <summary>
    /// A file that the case may leave to the repository because of its size: looked for in the case's folder, then in the
    /// visible fixture folder of the same kind, then in the default model's folder and its mllm folder.
    /// </summary>
    /// <exception cref="ParityCaseException">It is in none of them.</exception>
    public string FindShared(string fileName)
    {
        string[] folders =
        [
            Folder,
            Path.Combine(RepositoryFolders.Fixtures, "mllm", Kind),
            Path.Combine(RepositoryFolders.VisibleFixtures, "mllm", Kind),
            RepositoryFolders.NanoModel,
            Path.Combine(RepositoryFolders.NanoModel, "mllm"),
        ];
        return folders.Select(folder => Path.Combine(folder, fileName)).FirstOrDefault(File.Exists)
            ?? throw new ParityCaseException($"{Name}: {fileName} is in none of {string.Join(", ", folders)}");
    }

    /// <summary>The tolerance at <c>tolerance.part.part...</c>, or that of the nearest part above it which states one.</summary>
    /// <exception cref="ParityCaseException">The case states no tolerance there.</exception>
    public ParityTolerance Tolerance(params ReadOnlySpan<string> parts)
    {
        if (!Json.TryGetProperty("tolerance", out var at))
        {
            throw new ParityCaseException($"{Name}: case.json states no tolerance");
        }

        var stated = States(at) ? at : default;
        foreach (var part in parts)
        {
            if (at.ValueKind != JsonValueKind.Object || !at.TryGetProperty(part, out at))
            {
                break;
            }

            stated = States(at) ? at : stated;
        }

        try
        {
            return stated.ValueKind == JsonValueKind.Undefined
                ? throw new FormatException($"no tolerance is stated for {string.Join('.', parts.ToArray())}")
                : ParityTolerance.Parse(stated);
        }
        catch (FormatException exception)
        {
            throw new ParityCaseException($"{Name}: case.json: {exception.Message}", exception);
        }
    }

    public void Dispose()
    {
        DisposeTensors();
        _document.Dispose();
    }

    public override string ToString() => Name;

    partial void DisposeTensors();

    private static bool States(JsonElement at) =>
        at.ValueKind == JsonValueKind.String || (at.ValueKind == JsonValueKind.Object && at.TryGetProperty("atol", out _));
}

/// <summary>A golden case that cannot be run because of how it is laid out, not because of what it found.</summary>
public sealed class ParityCaseException(string message, Exception? inner = null) : Exception(message, inner)
{
    public bool IsTransient => false;
}
