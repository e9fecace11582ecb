using System.Reflection;

namespace MetaQuery.TestKit;

/// <summary>A case that was found: to be run by a kind, or with the reason why it is not covered or cannot be run.</summary>
/// <param name="Name">The folder relative to the root, with forward slashes.</param>
/// <param name="Folder">An absolute path.</param>
/// <param name="Kind">As case.json states it; "?" where it could not be read.</param>
/// <param name="Runner">Who runs it, or null.</param>
/// <param name="NotCovered">Why nobody runs it yet, or null.</param>
/// <param name="Error">Why the case itself is malformed, or null.</param>
public sealed record ParityEntry(string Name, string Folder, string Kind, IParityKind? Runner, string? NotCovered, string? Error);

/// <summary>Finds the cases under a folder and the kinds in an assembly, and brings them together.</summary>
public static class ParityCatalog
{
    /// <summary>Every folder with a case.json, ordered by name.</summary>
    /// <exception cref="ParityCaseException">The folder does not exist or holds no case; two classes claim one kind.</exception>
    public static IReadOnlyList<ParityEntry> Find(string root, Assembly kinds)
    {
        if (!Path.IsPathFullyQualified(root) || !Directory.Exists(root))
        {
            throw new ParityCaseException($"{root}: is not the absolute path of a folder; golden cases are looked for there");
        }

        var runners = Runners(kinds);
        var entries = Directory.EnumerateFiles(root, "case.json", SearchOption.AllDirectories)
            .Select(file => Path.GetDirectoryName(file)!)
            .Select(folder => Entry(Path.GetRelativePath(root, folder).Replace('\\', '/'), folder, runners))
            .OrderBy(entry => entry.Name, StringComparer.Ordinal)
            .ToList();
        return entries.Count > 0 ? entries : throw new ParityCaseException($"{root}: holds no folder with a case.json");
    }

    private static ParityEntry Entry(string name, string folder, Dictionary<string, IParityKind> runners)
    {
        try
        {
            using var parityCase = ParityCase.Open(folder, name);
            var runner = runners.GetValueOrDefault(parityCase.Kind);
            var notCovered = runner is null
                ? $"no class runs the kind {parityCase.Kind} yet"
                : runner.NotCovered(parityCase);
            return new ParityEntry(name, folder, parityCase.Kind, runner, notCovered, Error: null);
        }
        catch (Exception exception)
        {
            // Becomes the failure of that case alone.
            return new ParityEntry(name, folder, "?", Runner: null, NotCovered: null, exception.Message);
        }
    }

    private static Dictionary<string, IParityKind> Runners(Assembly assembly)
    {
        var runners = new Dictionary<string, IParityKind>(StringComparer.Ordinal);
        foreach (var type in assembly.GetTypes().Where(type => type is { IsClass: true, IsAbstract: false } && type.IsAssignableTo(typeof(IParityKind))))
        {
            var runner = (IParityKind)Activator.CreateInstance(type)!;
            foreach (var kind in runner.Kinds)
            {
                if (!runners.TryAdd(kind, runner))
                {
                    throw new ParityCaseException($"the kind {kind} is run by both {runners[kind].GetType()} and {type}");
                }
            }
        }

        return runners;
    }
}
