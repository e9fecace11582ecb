using System.Text.Json;

namespace MetaQuery.TestKit;

/// <summary><c>|actual - expected| &lt;= Atol + Rtol * |expected|</c>, element by element.</summary>
public readonly record struct ParityTolerance(double Atol, double Rtol)
{
    public static ParityTolerance Exact { get; } = new(0, 0);

    /// <summary>Reads <c>{"atol": .., "rtol": ..}</c> or <c>"exact"</c>.</summary>
    /// <exception cref="FormatException">The value is neither, or a number is negative.</exception>
    public static ParityTolerance Parse(JsonElement value)
    {
        if (value.ValueKind == JsonValueKind.String && value.GetString() == "exact")
        {
            return Exact;
        }

        if (value.ValueKind != JsonValueKind.Object
            || !value.TryGetProperty("atol", out var atol) || !value.TryGetProperty("rtol", out var rtol)
            || !atol.TryGetDouble(out var absolute) || !rtol.TryGetDouble(out var relative)
            || absolute < 0 || relative < 0)
        {
            throw new FormatException($"a tolerance is \"exact\" or has atol and rtol of at least 0, not {value.GetRawText()}");
        }

        return new ParityTolerance(absolute, relative);
    }
}
