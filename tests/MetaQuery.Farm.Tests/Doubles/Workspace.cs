using System.Security.Cryptography;

namespace MetaQuery.Farm.Tests.Doubles;

/// <summary>A folder that goes away with the test.</summary>
internal sealed class Workspace : IDisposable
{
    public Workspace() => Root = Directory.CreateTempSubdirectory("metaquery-farm-").FullName;

    public string Root { get; }

    public string this[string name] => Path.Combine(Root, name);

    public string Write(string name, params string[] lines)
    {
        File.WriteAllLines(this[name], lines);
        return this[name];
    }

    /// <summary>Every file that must not depend on chance, with its hash: all but _stats.json and what is under a dot.</summary>
    public static SortedDictionary<string, string> HashOutput(string folder) => new(
        Directory.EnumerateFiles(folder)
            .Where(path => !Path.GetFileName(path).StartsWith('.') && Path.GetFileName(path) != "_stats.json")
            .ToDictionary(path => Path.GetFileName(path), path => Convert.ToHexStringLower(SHA256.HashData(File.ReadAllBytes(path)))),
        StringComparer.Ordinal);

    public void Dispose() => Directory.Delete(Root, recursive: true);
}
