using System.Text.Json;

namespace MetaQuery.Sampling;

/// <summary>Reads scheduler_config.json's values, with diffusers' defaults for what a file leaves out.</summary>
internal sealed class SchedulerConfig(Func<string, JsonElement?> find)
{
    public string Text(string key, string otherwise) => Value(key) switch
    {
        null => otherwise,
        { ValueKind: JsonValueKind.String } value => value.GetString()!,
        { } value => throw Unreadable(key, value, "a string"),
    };

    public double Number(string key, double otherwise) => OptionalNumber(key) ?? otherwise;

    public double? OptionalNumber(string key) => Value(key) switch
    {
        null => null,
        { ValueKind: JsonValueKind.Number } value => value.GetDouble(),
        // Python writes bare words, which whoever parsed the file has put into quotes, perhaps behind a mark.
        { ValueKind: JsonValueKind.String } value when value.GetString()!.EndsWith("-Infinity", StringComparison.Ordinal) => double.NegativeInfinity,
        { } value => throw Unreadable(key, value, "a number"),
    };

    public double[]? Numbers(string key) => Value(key) switch
    {
        null => null,
        { ValueKind: JsonValueKind.Array } value => [.. value.EnumerateArray().Select(item =>
            item.ValueKind == JsonValueKind.Number ? item.GetDouble() : throw Unreadable(key, item, "a list of numbers"))],
        { } value => throw Unreadable(key, value, "a list of numbers"),
    };

    public int Integer(string key, int otherwise)
    {
        var value = Value(key);
        return value is null ? otherwise
            : value.Value.ValueKind == JsonValueKind.Number && value.Value.TryGetInt32(out var number) ? number
            : throw Unreadable(key, value.Value, "a whole number");
    }

    public bool Flag(string key, bool otherwise) => Value(key) switch
    {
        null => otherwise,
        { ValueKind: JsonValueKind.True } => true,
        { ValueKind: JsonValueKind.False } => false,
        { } value => throw Unreadable(key, value, "true or false"),
    };

    /// <summary>num_train_timesteps: a table of so many entries is made.</summary>
    public int TrainTimesteps()
    {
        const int Most = 1_000_000;
        var count = Integer("num_train_timesteps", 1000);
        return count is >= 1 and <= Most ? count
            : throw new SchedulerException($"scheduler_config.json: num_train_timesteps is {count}, expected a number from 1 to {Most}");
    }

    /// <summary>A word out of those that are built.</summary>
    public string OneOf(string key, string otherwise, params ReadOnlySpan<string> supported)
    {
        var value = Text(key, otherwise);
        return supported.Contains(value) ? value
            : throw new SchedulerException($"scheduler_config.json: {key} is '{value}', expected {string.Join(" or ", supported.ToArray())}");
    }

    /// <summary>Refuses a config that switches on what is not built.</summary>
    public void RefuseIfSet(string owner, params ReadOnlySpan<string> keys)
    {
        foreach (var key in keys)
        {
            if (Flag(key, false))
            {
                throw new SchedulerException($"scheduler_config.json: {owner} with {key} is not supported; set it to false");
            }
        }
    }

    private JsonElement? Value(string key) => find(key) is { ValueKind: not JsonValueKind.Null } value ? value : null;

    private static SchedulerException Unreadable(string key, JsonElement value, string wanted) =>
        new($"scheduler_config.json: {key} is {value.GetRawText()}, expected {wanted}");
}
