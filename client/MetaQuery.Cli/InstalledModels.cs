using System.Text.Json;

namespace MetaQuery.Cli;

/// <summary>The folders under models/ (or those that METAQUERY_MODELS names).</summary>
internal static class InstalledModels
{
    public const string FolderVariable = "METAQUERY_MODELS";
    public const string Default = "nano";

    /// <summary>The repository's models folder, unless the variable names another.</summary>
    public static string Folder => Environment.GetEnvironmentVariable(FolderVariable) is { Length: > 0 } named
        ? named
        : Path.Combine(RepositoryRoot() ?? Environment.CurrentDirectory, "models");

    /// <summary>Folders that hold a config.json, by name.</summary>
    public static IEnumerable<string> All() => !Directory.Exists(Folder)
        ? []
        : Directory.EnumerateDirectories(Folder).Where(f => File.Exists(Path.Combine(f, "config.json"))).Order(StringComparer.Ordinal);

    /// <summary>The folder of a model given by name or by path.</summary>
    /// <exception cref="UsageException">There is no such model.</exception>
    public static string Find(string nameOrPath)
    {
        if (nameOrPath.Length > 0 && Path.GetFileName(nameOrPath) == nameOrPath && Directory.Exists(Path.Combine(Folder, nameOrPath)))
        {
            return Path.Combine(Folder, nameOrPath);
        }

        return Directory.Exists(nameOrPath)
            ? nameOrPath
            : throw new UsageException($"--model {nameOrPath}: neither a folder nor one of {string.Join(", ", All().Select(Path.GetFileName))} in {Folder}");
    }

    /// <summary>A file's licence as licenses/licenses.json states it: by path, or under "*".</summary>
    public static string LicenceOf(string modelFolder, string path)
    {
        var file = Path.Combine(modelFolder, "licenses", "licenses.json");
        if (!File.Exists(file))
        {
            return "not stated";
        }

        try
        {
            using var document = JsonDocument.Parse(File.ReadAllBytes(file));
            return document.RootElement.TryGetProperty(path, out var own) || document.RootElement.TryGetProperty("*", out own)
                ? own.GetString() ?? "not stated"
                : "not stated";
        }
        catch (Exception error) when (error is JsonException or InvalidOperationException)
        {
            throw new UsageException($"{file}: not a JSON object of licences by file name: {error.Message}");
        }
    }

    private static string? RepositoryRoot()
    {
        var folder = AppContext.BaseDirectory;
        while (folder is not null && !File.Exists(Path.Combine(folder, "MetaQuery.Farm.sln")))
        {
            folder = Path.GetDirectoryName(folder);
        }

        return folder;
    }
}
