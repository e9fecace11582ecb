namespace MetaQuery.TestKit;

/// <summary>Where the repository's own files lie, found from where the tests were built.</summary>
public static class RepositoryFolders
{
    /// <summary>Names a folder of golden cases that takes the place of <see cref="VisibleFixtures"/>; an absolute path.</summary>
    public const string FixturesVariable = "METAQUERY_FIXTURES";

    public static string Root { get; } = FindRoot();

    /// <summary>The default model's folder.</summary>
    public static string NanoModel { get; } = Path.Combine(Root, "models", "nano");

    /// <summary>The golden cases that are part of the repository. Cases elsewhere may refer to large files that only these folders hold.</summary>
    public static string VisibleFixtures { get; } = Path.Combine(Root, "tests", "fixtures");

    /// <summary>The folder whose cases run: the one that <see cref="FixturesVariable"/> names, else <see cref="VisibleFixtures"/>.</summary>
    public static string Fixtures =>
        Environment.GetEnvironmentVariable(FixturesVariable) is { Length: > 0 } named ? named : VisibleFixtures;

    private static string FindRoot()
    {
        for (var folder = new DirectoryInfo(AppContext.BaseDirectory); folder is not null; folder = folder.Parent)
        {
            if (File.Exists(Path.Combine(folder.FullName, "MetaQuery.Farm.sln")))
            {
                return folder.FullName;
            }
        }

        throw new DirectoryNotFoundException($"no folder above {AppContext.BaseDirectory} holds MetaQuery.Farm.sln");
    }
}
