using MetaQuery.Farm;

namespace MetaQuery.Architecture.Tests;

/// <summary>The table of a job's states in docs/queue.md is the one that the farm goes by.</summary>
public sealed class LifecycleTableTests
{
    private static readonly List<string[]> Rows =
    [
        .. Repository.Read("docs/queue.md").Split('\n')
            .Where(line => line.StartsWith("| ", StringComparison.Ordinal))
            .Select(line => line.Trim('|').Split('|').Select(cell => cell.Trim(' ', '*')).ToArray())
            .Where(cells => cells.Length == 10),
    ];

    [Theory]
    [MemberData(nameof(Commands))]
    public void A_command_does_what_the_document_says(JobCommand command)
    {
        foreach (var (state, cell) in Cells(Name(command.ToString(), '-')))
        {
            string actual = !JobLifecycle.Allows(state, command) ? "–"
                : JobLifecycle.After(state, command) is not { } next ? "gone"
                : next == state ? "·"
                : JobLifecycle.NameOf(next);
            Assert.Equal((state, cell), (state, actual));
        }
    }

    [Theory]
    [MemberData(nameof(Signals))]
    public void A_signal_does_what_the_document_says(JobSignal signal)
    {
        string row = signal == JobSignal.Restarted ? "head restarted" : Name(signal.ToString(), ' ');
        foreach (var (state, cell) in Cells(row))
        {
            Assert.Equal((state, cell), (state, After(state, signal)));
        }
    }

    public static TheoryData<JobCommand> Commands() => [.. Enum.GetValues<JobCommand>()];

    public static TheoryData<JobSignal> Signals() => [.. Enum.GetValues<JobSignal>()];

    private static string After(JobState state, JobSignal signal)
    {
        try
        {
            var next = JobLifecycle.After(state, signal);
            return next == state ? "·" : JobLifecycle.NameOf(next);
        }
        catch (InvalidOperationException)
        {
            return "–";
        }
    }

    private static IEnumerable<(JobState State, string Cell)> Cells(string row)
    {
        var cells = Assert.Single(Rows, cells => cells[0] == row);
        return Rows[0].Skip(1).Zip(cells.Skip(1), (name, cell) => (JobLifecycle.TryParse(name, out var state) ? state : throw new InvalidOperationException(name), cell));
    }

    private static string Name(string words, char between) =>
        string.Concat(words.Select((letter, index) => char.IsUpper(letter) && index > 0 ? $"{between}{char.ToLowerInvariant(letter)}" : $"{char.ToLowerInvariant(letter)}"));
}
