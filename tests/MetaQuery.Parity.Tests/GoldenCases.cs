using System.Diagnostics;
using MetaQuery.TestKit;
using TorchSharp;
using Xunit.Abstractions;

namespace MetaQuery.Parity.Tests;

/// <summary>Every golden case that is found, one test each. The cases run one after another: a tensor library uses all cores.</summary>
public sealed class GoldenCases(ITestOutputHelper output)
{
    private static readonly Lazy<IReadOnlyList<ParityEntry>> Entries = new(Find);

    /// <summary>Name and reason for not being covered, which makes the discoverer skip the row.</summary>
    public static TheoryData<string, string?> Names()
    {
        var rows = new TheoryData<string, string?>();
        foreach (var entry in Entries.Value)
        {
            rows.Add(entry.Name, entry.NotCovered);
        }

        return rows;
    }

    [ParityTheory]
    [MemberData(nameof(Names))]
    public void Agrees_with_the_reference(string name, string? notCovered)
    {
        Assert.Null(notCovered);
        var entry = Entries.Value.Single(entry => entry.Name == name);
        var report = new ParityReport();
        var clock = Stopwatch.StartNew();
        try
        {
            Assert.True(entry.Error is null, entry.Error);
            var before = torch.Tensor.TotalCount;
            using (var parityCase = ParityCase.Open(entry.Folder, entry.Name))
            {
                entry.Runner!.Run(parityCase, report);
            }

            var leaked = torch.Tensor.TotalCount - before;
            if (leaked > 0)
            {
                report.That("native tensors", holds: false, $"{leaked} were not disposed");
            }
        }
        catch (Exception exception)
        {
            ParitySummary.Write(entry, $"failed: {exception.GetType().Name}: {exception.Message}");
            throw;
        }

        ParitySummary.Write(entry, $"{report}, {clock.Elapsed.TotalSeconds:0.0} s");
        output.WriteLine(report.ToString());
        Assert.True(report.Passed, $"{report}\n{string.Join("\n", report.Failures.Take(40))}");
    }

    private static IReadOnlyList<ParityEntry> Find()
    {
        var entries = ParityCatalog.Find(RepositoryFolders.Fixtures, typeof(GoldenCases).Assembly);
        foreach (var entry in entries.Where(entry => entry.NotCovered is not null))
        {
            ParitySummary.Write(entry, $"not covered: {entry.NotCovered}");
        }

        return entries;
    }
}
