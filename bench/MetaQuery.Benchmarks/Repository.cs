namespace MetaQuery.Benchmarks;

/// <summary>The checkout that the benchmark runs in: the peer, the model and the script lie there.</summary>
internal static class Repository
{
    public static string Root { get; } = Find();

    public static string PathOf(params string[] parts) => Path.Combine([Root, .. parts]);

    private static string Find()
    {
        for (var folder = new DirectoryInfo(AppContext.BaseDirectory); folder is not null; folder = folder.Parent)
        {
            if (File.Exists(Path.Combine(folder.FullName, "MetaQuery.Farm.sln")))
            {
                return folder.FullName;
            }
        }

        throw new BenchmarkException($"no folder above {AppContext.BaseDirectory} holds MetaQuery.Farm.sln");
    }
}
