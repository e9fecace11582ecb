using System.Globalization;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace MetaQuery.Benchmarks;

/// <summary>The figures, as a table for people and as one JSON object for programs.</summary>
internal sealed class BenchmarkReport
{
    private readonly List<string[]> _rows = [["what", "ours", "peer", "ratio", "share of GEMM peak"]];
    private readonly List<string> _notes = [];

    public JsonObject Json { get; } = [];

    /// <summary>A module measured beside the peer.</summary>
    /// <param name="key">The JSON keys' common beginning; the ratio's key ends in <c>Ratio</c>.</param>
    /// <param name="what">The table's words.</param>
    /// <param name="unit">Unit of both figures.</param>
    /// <param name="ours">Our figure in that unit.</param>
    /// <param name="peer">The peer's.</param>
    /// <param name="ratio">Above 1 where ours is faster.</param>
    /// <param name="share">Of the machine's measured GEMM peak, where the work is known.</param>
    public void Add(string key, string what, string unit, double ours, double peer, double ratio, double? share = null)
    {
        var suffix = UnitInKey(unit);
        Json[key + suffix] = Round(ours);
        Json[$"{key}Peer{suffix}"] = Round(peer);
        Json[key + "Ratio"] = Round(ratio);
        if (share is not null)
        {
            Json[key + "PeakShare"] = Round(share.Value);
        }

        _rows.Add([what, Text(ours, unit), Text(peer, unit), ratio.ToString("0.00", CultureInfo.InvariantCulture) + " x", share?.ToString("0 %", CultureInfo.InvariantCulture) ?? ""]);
    }

    /// <summary>A module without a counterpart: its time, its rate, and that as a share of the GEMM peak where the work is known.</summary>
    public void AddModule(string key, string what, double seconds, double gflopPerSecond, double? share)
    {
        Json[key + "Seconds"] = Round(seconds);
        if (share is { } part)
        {
            Json[key + "GflopPerSecond"] = Round(gflopPerSecond);
            Json[key + "PeakShare"] = Round(part);
        }

        _rows.Add([what, Text(seconds, "s"), "", share is null ? "" : Text(gflopPerSecond, "GFLOP/s"), share?.ToString("0 %", CultureInfo.InvariantCulture) ?? ""]);
    }

    /// <summary>A figure without a counterpart.</summary>
    public void Add(string key, string what, string unit, double value)
    {
        Json[key] = Round(value);
        _rows.Add([what, Text(value, unit), "", "", ""]);
    }

    /// <summary>Two settings of our own side; the ratio is the first over the second.</summary>
    public void AddRatio(string key, string what, double ratio)
    {
        Json[key] = Round(ratio);
        _rows.Add([what, "", "", ratio.ToString("0.00", CultureInfo.InvariantCulture) + " x", ""]);
    }

    public void Say(string key, string text)
    {
        Json[key] = text;
        _notes.Add($"{key}: {text}");
    }

    public string ToJson() => Json.ToJsonString(new JsonSerializerOptions { WriteIndented = true });

    public override string ToString()
    {
        var widths = Enumerable.Range(0, _rows[0].Length).Select(column => _rows.Max(row => row[column].Length)).ToArray();
        var text = new StringBuilder();
        foreach (var note in _notes)
        {
            text.AppendLine(note);
        }

        foreach (var (index, row) in _rows.Index())
        {
            text.AppendLine(string.Join("  ", row.Select((cell, column) => column == 0 ? cell.PadRight(widths[0]) : cell.PadLeft(widths[column]))).TrimEnd());
            if (index == 0)
            {
                text.AppendLine(string.Join("  ", widths.Select(width => new string('-', width))));
            }
        }

        return text.ToString();
    }

    private static string UnitInKey(string unit) => unit switch
    {
        "GFLOP/s" => "GflopPerSecond",
        "images/s" => "ImagesPerSecond",
        "ms" => "Ms",
        "ms per prompt" => "MsPerPrompt",
        "ms per image" => "MsPerImage",
        _ => throw new ArgumentException($"the unit {unit} has no spelling for a key", nameof(unit)),
    };

    private static string Text(double value, string unit) =>
        value.ToString(Math.Abs(value) >= 100 ? "0" : Math.Abs(value) >= 10 ? "0.0" : "0.00", CultureInfo.InvariantCulture) + " " + unit;

    private static double Round(double value) => double.Parse(value.ToString("g5", CultureInfo.InvariantCulture), CultureInfo.InvariantCulture);
}
