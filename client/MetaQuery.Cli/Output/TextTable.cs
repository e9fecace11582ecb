using Spectre.Console;

namespace MetaQuery.Cli.Output;

/// <summary>Rows on stdout: a table on a terminal; otherwise plain columns that nothing is cut from.</summary>
internal static class TextTable
{
    public static void Write(IReadOnlyList<string> headings, IReadOnlyList<IReadOnlyList<string>> rows)
    {
        if (Console.IsOutputRedirected || Environment.GetEnvironmentVariable("TERM") is null or "" or "dumb")
        {
            Console.Write(Plain(headings, rows));
            return;
        }

        var table = new Table().Border(TableBorder.Simple);
        foreach (var heading in headings)
        {
            table.AddColumn(new TableColumn(Markup.Escape(heading)));
        }

        foreach (var row in rows)
        {
            table.AddRow([.. row.Select(cell => $"{Colour(cell)}{Markup.Escape(cell)}[/]")]);
        }

        AnsiConsole.Write(table);
    }

    internal static string Plain(IReadOnlyList<string> headings, IReadOnlyList<IReadOnlyList<string>> rows)
    {
        int[] widths = [.. headings.Select((heading, i) => rows.Select(row => row[i].Length).Append(heading.Length).Max())];
        return string.Concat(rows.Prepend(headings).Select(row => string.Join("  ", row.Select((cell, i) => cell.PadRight(widths[i]))).TrimEnd() + "\n"));
    }

    private static string Colour(string cell) => cell switch
    {
        "completed" => "[green]",
        "running" or "planning" or "finishing" => "[blue]",
        "failed" => "[red]",
        "completed_with_errors" or "paused" or "draining" => "[yellow]",
        "cancelled" or "drained" => "[grey]",
        _ => "[default]",
    };
}
