using System.Security.Cryptography;
using MetaQuery.Data;

namespace MetaQuery.Chaos;

/// <summary>Compares what a job left with what its fault-free run left.</summary>
internal static class OutputCheck
{
    // what the last run did, by its own clock
    private const string Stats = "_stats.json";

    /// <returns>What is wrong, one line each; nothing where all is as it must be.</returns>
    public static IReadOnlyList<string> Compare(JobCase job, string folder, string reference)
    {
        var wrong = new List<string>();
        var (ours, theirs) = (Hash(folder), Hash(reference));
        foreach (var name in ours.Keys.Union(theirs.Keys, StringComparer.Ordinal).Order(StringComparer.Ordinal))
        {
            if (!ours.TryGetValue(name, out var our))
            {
                wrong.Add($"{name} is missing");
            }
            else if (!theirs.TryGetValue(name, out var their))
            {
                wrong.Add($"{name} is too many");
            }
            else if (our != their)
            {
                wrong.Add($"{name} has other bytes than without faults");
            }
        }

        var keys = new HashSet<string>(StringComparer.Ordinal);
        var pictures = new HashSet<string>(StringComparer.Ordinal);
        foreach (var shard in Directory.EnumerateFiles(folder, "*.tar").Order(StringComparer.Ordinal))
        {
            foreach (var sample in WebDatasetShardReader.Read(shard))
            {
                var picture = sample.Files.Single(file => file.Extension == job.Format);
                if (!keys.Add(sample.Key) || !pictures.Add(Convert.ToHexString(SHA256.HashData(picture.Content.Span))))
                {
                    wrong.Add($"{sample.Key} is there twice, or its picture is");
                }
            }
        }

        if (keys.Count != job.Images)
        {
            wrong.Add($"{keys.Count} images instead of {job.Images}");
        }

        return wrong;
    }

    /// <summary>Files that a job needs only while it is unfinished, or that a writer that died left behind.</summary>
    public static IReadOnlyList<string> FindLeftovers(string dataFolder) =>
    [
        .. Directory.EnumerateFiles(dataFolder, "*", SearchOption.AllDirectories)
            .Select(path => Path.GetRelativePath(dataFolder, path))
            .Where(path => path.Contains(".partial-", StringComparison.Ordinal) || path.EndsWith(".spool", StringComparison.Ordinal)
                || path.StartsWith("inbox" + Path.DirectorySeparatorChar, StringComparison.Ordinal)),
    ];

    private static Dictionary<string, string> Hash(string folder) => Directory.EnumerateFiles(folder)
        .Where(path => Path.GetFileName(path) is var name && name != Stats && !name.StartsWith('.'))
        .ToDictionary(path => Path.GetFileName(path), path => Convert.ToHexString(SHA256.HashData(File.ReadAllBytes(path))), StringComparer.Ordinal);
}
