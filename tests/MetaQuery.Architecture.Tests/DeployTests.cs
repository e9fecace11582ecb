using System.CommandLine;
using System.Reflection;
using System.Text.Json;
using System.Text.RegularExpressions;

namespace MetaQuery.Architecture.Tests;

/// <summary>What deploy/ tells a machine to run exists: commands with their options, metrics, files.</summary>
public sealed partial class DeployTests
{
    private static IEnumerable<string> DeployFiles => Repository.Files.Where(file => file.StartsWith("deploy/", StringComparison.Ordinal));

    [Fact]
    public void Every_command_of_a_container_is_one_of_the_clients()
    {
        var client = (RootCommand)Assembly.Load("metaquery").GetType("MetaQuery.Cli.RootCommandFactory", throwOnError: true)!
            .GetMethod("Create", BindingFlags.Public | BindingFlags.NonPublic | BindingFlags.Static)!.Invoke(null, null)!;
        var commands = (
            from file in DeployFiles
            where file.EndsWith(".yaml", StringComparison.Ordinal)
            from Match match in ArgumentList().Matches(Repository.Read(file))
            let words = JsonSerializer.Deserialize<string[]>(match.Groups["words"].Value)!
            where words[0] is "serve" or "worker" or "silo"
            select (file, words)).ToList();
        Assert.Contains(commands, command => command.words[0] == "serve");
        Assert.Contains(commands, command => command.words[0] == "worker");
        Assert.Contains(commands, command => command.words[0] == "silo");
        Assert.Empty(
            from command in commands
            from error in client.Parse(command.words).Errors
            select $"{command.file}: {string.Join(' ', command.words)}: {error.Message}");
    }

    [Fact]
    public void Every_metric_of_alerts_dashboard_and_autoscaler_is_one_that_the_api_documents()
    {
        var documented = Metric().Matches(Repository.Read("docs/api.md")).Select(match => match.Value).ToHashSet(StringComparer.Ordinal);
        var used = (
            from file in DeployFiles
            where !file.EndsWith(".md", StringComparison.Ordinal)
            from Match match in Metric().Matches(Repository.Read(file))
            select (file, match.Value)).ToList();
        Assert.True(used.Select(metric => metric.Value).Distinct(StringComparer.Ordinal).Count() >= 15, "few metrics were found: is the pattern right?");
        Assert.Empty(used.Where(metric => !documented.Contains(metric.Value)).Select(metric => $"{metric.file}: {metric.Value}"));
    }

    [Fact]
    public void The_dashboard_is_json_and_its_panels_have_names_and_queries()
    {
        using var dashboard = JsonDocument.Parse(Repository.Read("deploy/monitoring/grafana-dashboard.json"));
        var panels = dashboard.RootElement.GetProperty("panels").EnumerateArray().ToList();
        Assert.NotEmpty(panels);
        Assert.All(panels, panel =>
        {
            Assert.NotEmpty(panel.GetProperty("title").GetString()!);
            Assert.All(panel.GetProperty("targets").EnumerateArray(), target => Assert.NotEmpty(target.GetProperty("expr").GetString()!));
        });
        Assert.Equal(panels.Count, panels.Select(panel => panel.GetProperty("id").GetInt32()).Distinct().Count());
    }

    [Fact]
    public void Every_kustomization_names_files_that_are_there()
    {
        var missing =
            from file in DeployFiles
            where Path.GetFileName(file) == "kustomization.yaml"
            let folder = Path.Combine(Repository.Root, Path.GetDirectoryName(file)!)
            from Match match in Resource().Matches(Repository.Read(file))
            let path = match.Groups["path"].Value
            where !Path.Exists(Path.Combine(folder, path))
            select $"{file}: {path}";
        Assert.Empty(missing);
    }

    [GeneratedRegex(@"(command|args): (?<words>\[.*\])")]
    private static partial Regex ArgumentList();

    [GeneratedRegex("metaquery_[a-z_]+")]
    private static partial Regex Metric();

    [GeneratedRegex(@"^  - (?<path>\S+\.yaml|\.\./\S+)$", RegexOptions.Multiline)]
    private static partial Regex Resource();
}
