using System.Globalization;
using System.Text;

namespace MetaQuery.Chaos;

/// <summary>A series' outcome as a table for people: docs/chaos.md holds one.</summary>
internal static class ChaosTable
{
    public static string Of(ChaosOutcome outcome)
    {
        var text = new StringBuilder();
        text.AppendLine("| fault | times | most in flight | next image after, median s | longest s |");
        text.AppendLine("|---|---|---|---|---|");
        foreach (var kind in outcome.Faults.GroupBy(fault => fault.Kind, StringComparer.Ordinal).OrderBy(kind => kind.Key, StringComparer.Ordinal))
        {
            double[] times = [.. kind.Select(fault => fault.RecoveredSeconds).Order()];
            text.AppendLine(CultureInfo.InvariantCulture, $"| {kind.Key} | {times.Length} | {kind.Max(fault => fault.InFlight)} | {times[times.Length / 2]:0.0} | {times[^1]:0.0} |");
        }

        text.AppendLine();
        text.AppendLine(CultureInfo.InvariantCulture, $"{outcome.Faults.Count} faults in {outcome.Runs} runs, {outcome.Jobs} jobs, {outcome.Images} images, {outcome.Reclaimed} items taken back from workers held for dead, {outcome.Refused} late reports refused, {outcome.Elapsed.TotalMinutes:0} minutes.");
        text.AppendLine(outcome.Wrong.Count == 0
            ? "Every image once, every byte as without faults, nothing left in Redis or in the inbox."
            : string.Join('\n', outcome.Wrong));
        return text.ToString();
    }
}
