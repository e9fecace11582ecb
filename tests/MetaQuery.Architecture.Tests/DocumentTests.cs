using System.CommandLine;
using System.CommandLine.Parsing;
using System.Reflection;
using System.Text.RegularExpressions;

namespace MetaQuery.Architecture.Tests;

/// <summary>README commands do not rot: what the documents tell a reader to type exists, and what they link to is there.</summary>
public sealed partial class DocumentTests
{
    private static readonly string[] ScriptCommands = ["test", "bench", "chaos", "build"];

    public static TheoryData<string> Documents() =>
        [.. Repository.Files.Where(file => file.EndsWith(".md", StringComparison.Ordinal) && !file.StartsWith("tests/fixtures/", StringComparison.Ordinal))];

    [Theory]
    [MemberData(nameof(Documents))]
    public void Every_command_in_a_document_exists(string document)
    {
        var wrong =
            from Match match in Command().Matches(Repository.Read(document))
            let line = match.Groups["line"].Value.Trim()
            let problem = Problem(line)
            where problem is not null
            select $"./farm {line}: {problem}";
        Assert.Empty(wrong);
    }

    [Theory]
    [MemberData(nameof(Documents))]
    public void Every_link_in_a_document_leads_somewhere(string document)
    {
        var folder = Path.Combine(Repository.Root, Path.GetDirectoryName(document)!);
        var missing =
            from Match match in Link().Matches(Repository.Read(document))
            let target = match.Groups["target"].Value
            where !target.Contains("://", StringComparison.Ordinal)
            where !Path.Exists(Path.Combine(folder, target.Split('#')[0]))
            select target;
        Assert.Empty(missing);
    }

    [Fact]
    public void The_script_knows_its_own_commands()
    {
        var script = Repository.Read("farm");
        Assert.All(ScriptCommands, command => Assert.Matches($@"\n  {command}\)", script));
    }

    private static string? Problem(string line)
    {
        var words = CommandLineParser.SplitCommandLine(line).ToArray();
        var placeholder = Array.FindIndex(words, word => Placeholder().IsMatch(word));
        if (placeholder >= 0)
        {
            words = words[..placeholder];
        }

        if (words.Length == 0 || words[0] == "ANYTHING")
        {
            return null;
        }

        if (ScriptCommands.Contains(words[0]))
        {
            return words is ["test", var room, ..] && room != "parity" && !Directory.EnumerateDirectories(Path.Combine(Repository.Root, "tests"))
                .Any(folder => string.Equals(Path.GetFileName(folder), $"MetaQuery.{room}.Tests", StringComparison.OrdinalIgnoreCase))
                ? $"there are no tests named {room}"
                : null;
        }

        var errors = Client().Parse(words, new ParserConfiguration { ResponseFileTokenReplacer = null }).Errors;
        // A sentence may name a command without its arguments. What follows a placeholder was cut off; what is there must be known.
        return placeholder >= 0
            ? (words[0].StartsWith('-') || Client().Subcommands.Any(command => command.Name == words[0]) ? null : $"unknown command {words[0]}")
            : errors.Select(error => error.Message).FirstOrDefault(message =>
                !message.StartsWith("Required argument missing", StringComparison.Ordinal) && !message.EndsWith("is required.", StringComparison.Ordinal));
    }

    private static RootCommand Client() =>
        (RootCommand)Assembly.Load("metaquery").GetType("MetaQuery.Cli.RootCommandFactory", throwOnError: true)!
            .GetMethod("Create", BindingFlags.Public | BindingFlags.NonPublic | BindingFlags.Static)!.Invoke(null, null)!;

    // On a line of its own or in backquotes; what follows two blanks is an explanation.
    [GeneratedRegex(@"(?<![\w/])\./farm (?<line>(?:(?!  |`|\n| #| and | or ).)+)")]
    private static partial Regex Command();

    [GeneratedRegex("^[A-Z][A-Z_ ]*$|^…$|^\\.\\.\\.$|[\\[|]")]
    private static partial Regex Placeholder();

    [GeneratedRegex(@"\]\((?<target>[^)\s]+)\)")]
    private static partial Regex Link();
}
