using System.Text.RegularExpressions;
using Xunit.Abstractions;

namespace MetaQuery.Architecture.Tests;

/// <summary>What holds for every file, whatever it is about.</summary>
public sealed partial class SourceTests(ITestOutputHelper output)
{
    private const int SoftLimit = 300;
    private const int HardLimit = 500;

    private static readonly string[] SourceEndings = [".cs", ".c", ".cpp", ".h", ".py", ".sh"];
    private static readonly string[] TextEndings = [.. SourceEndings, ".md", ".props", ".csproj", ".sln", ".yml", ".yaml", ".txt", ".editorconfig"];

    // In two pieces, so that this file does not find itself.
    private static readonly string[] MachinePlaces =
        ["/wo" + "rk/", "/ro" + "ot/", "/ho" + "me/", "../sha" + "red", "pypi" + ".org", "nuget" + ".org", "npmjs" + ".", "debian" + ".org/debian"];

    [Fact]
    public void No_source_file_is_longer_than_500_lines()
    {
        var lengths = Repository.Files
            .Where(file => SourceEndings.Any(ending => file.EndsWith(ending, StringComparison.Ordinal)) || file == "farm")
            .Select(file => (File: file, Lines: File.ReadLines(Path.Combine(Repository.Root, file)).Count()))
            .OrderByDescending(file => file.Lines)
            .ToList();
        foreach (var (file, lines) in lengths.Where(file => file.Lines > SoftLimit))
        {
            output.WriteLine($"over {SoftLimit}: {file}: {lines} lines");
        }

        // The peer is one file on purpose: it is read beside ours, and runs wherever its one dependency is.
        Assert.DoesNotContain(lengths, file => file.Lines > HardLimit && file.File != "bench/peer/metaquery_torch.py");
    }

    [Fact]
    public void No_file_names_a_place_of_one_machine_or_the_host_of_a_registry()
    {
        var found =
            from file in Repository.Files
            where !file.StartsWith("tests/fixtures/", StringComparison.Ordinal)
            where TextEndings.Any(ending => file.EndsWith(ending, StringComparison.Ordinal)) || file is "farm" or ".ci/run" or ".gitignore"
            let text = Repository.Read(file)
            from place in MachinePlaces
            where text.Contains(place, StringComparison.OrdinalIgnoreCase)
            select $"{file}: {place}";
        Assert.Empty(found);
    }

    [Fact]
    public void Namespaces_equal_project_names()
    {
        var wrong =
            from file in Repository.Files
            where file.EndsWith(".cs", StringComparison.Ordinal)
            let project = ProjectOf(file)
            where project is not null
            let expected = project == "MetaQuery.Torch" ? "TorchSharp" : project
            from Match match in NamespaceLine().Matches(Repository.Read(file))
            let name = match.Groups[1].Value
            where name != expected && !name.StartsWith(expected + ".", StringComparison.Ordinal)
            select $"{file}: {name}, expected {expected}";
        Assert.Empty(wrong);
    }

    private static string? ProjectOf(string file) => file.Split('/') switch
    {
        ["src" or "silo" or "client" or "tests" or "bench", var project, _, ..] => project,
        _ => null,
    };

    [GeneratedRegex(@"^namespace ([\w.]+)", RegexOptions.Multiline)]
    private static partial Regex NamespaceLine();
}
