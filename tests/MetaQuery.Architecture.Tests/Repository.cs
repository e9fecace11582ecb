using System.Xml.Linq;
using MetaQuery.TestKit;

namespace MetaQuery.Architecture.Tests;

/// <summary>The repository's own files, without builds, runs and git's.</summary>
internal static class Repository
{
    private static readonly HashSet<string> NotOurs = new(StringComparer.Ordinal)
    {
        ".git", ".farm", "artifacts", "bin", "obj", "out", ".vs", ".idea", ".vscode", "BenchmarkDotNet.Artifacts", "__pycache__",
    };

    public static string Root => RepositoryFolders.Root;

    /// <summary>Paths relative to the root, with forward slashes.</summary>
    public static IReadOnlyList<string> Files { get; } = [.. Under(Root).Order(StringComparer.Ordinal)];

    public static string Read(string file) => File.ReadAllText(Path.Combine(Root, file));

    /// <summary>All projects by name, each with the names of the projects it refers to, whatever the condition.</summary>
    public static IReadOnlyDictionary<string, string[]> ProjectReferences { get; } = Files
        .Where(file => file.EndsWith(".csproj", StringComparison.Ordinal))
        .ToDictionary(Name, file => Items(file, "ProjectReference").Select(Name).Order(StringComparer.Ordinal).ToArray());

    public static IEnumerable<string> Packages(string project) => Files
        .Where(file => file.EndsWith($"/{project}.csproj", StringComparison.Ordinal))
        .SelectMany(file => Items(file, "PackageReference"));

    public static string Name(string project) => Path.GetFileNameWithoutExtension(project.Replace('\\', '/'));

    private static IEnumerable<string> Items(string file, string kind) =>
        XDocument.Load(Path.Combine(Root, file)).Descendants(kind).Select(item => (string?)item.Attribute("Include") ?? "");

    private static IEnumerable<string> Under(string folder)
    {
        foreach (var file in Directory.EnumerateFiles(folder))
        {
            yield return Path.GetRelativePath(Root, file).Replace('\\', '/');
        }

        foreach (var file in Directory.EnumerateDirectories(folder).Where(sub => !NotOurs.Contains(Path.GetFileName(sub))).SelectMany(Under))
        {
            yield return file;
        }
    }
}
