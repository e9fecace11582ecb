using MetaQuery.TestKit;

namespace MetaQuery.Parity.Tests;

/// <summary>
/// A line per case, written as soon as the case has ended, to the file that METAQUERY_PARITY_SUMMARY names:
/// <c>./farm test parity</c> prints it, and a crash loses no line of the cases before it.
/// </summary>
public static class ParitySummary
{
    public const string Variable = "METAQUERY_PARITY_SUMMARY";

    public static void Write(ParityEntry entry, string outcome)
    {
        if (Environment.GetEnvironmentVariable(Variable) is { Length: > 0 } path)
        {
            var line = outcome.ReplaceLineEndings(" ");
            File.AppendAllText(path, $"{entry.Name} ({entry.Kind}) {line}\n");
        }
    }
}
