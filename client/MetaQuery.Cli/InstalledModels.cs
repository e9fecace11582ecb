using MetaQuery.Models.Checkpoints;

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

    /// <summary>Every model in <see cref="Folder"/>, by name; also the broken ones, with what is wrong.</summary>
    public static IReadOnlyList<InstalledModel> All(bool withSha256, CancellationToken cancellationToken = default) => ModelCatalog.Find(Folder, withSha256, cancellationToken);

    /// <summary>The folder of a model given by name or by path.</summary>
    /// <param name="where">What of the command line named it.</param>
    /// <exception cref="UsageException">There is no such model.</exception>
    public static string Find(string nameOrPath, string where = "--model")
    {
        if (nameOrPath.Length > 0 && Path.GetFileName(nameOrPath) == nameOrPath && Directory.Exists(Path.Combine(Folder, nameOrPath)))
        {
            return Path.Combine(Folder, nameOrPath);
        }

        return Directory.Exists(nameOrPath)
            ? nameOrPath
            : throw new UsageException($"{where} {nameOrPath}: neither a folder nor one of {string.Join(", ", All(withSha256: false).Select(m => m.Name))} in {Folder}");
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
