using System.Text.Json;
using MetaQuery.Models.Checkpoints;

namespace MetaQuery.Models.Layers;

/// <summary>Reads a diffusers config.json: a value, or the library's default where the file has none (or null).</summary>
internal sealed class ConfigReader(ConfigFile config)
{
    public int Integer(string key, int? otherwise = null) =>
        Optional(key) is not { } value ? otherwise ?? throw Missing(key)
        : value.ValueKind == JsonValueKind.Number && value.TryGetInt32(out var number) && number >= 0 ? number
        : throw Wrong(key, value, "a whole number of at least 0");

    public double Number(string key, double? otherwise = null) =>
        Optional(key) is not { } value ? otherwise ?? throw Missing(key)
        : value.ValueKind == JsonValueKind.Number ? value.GetDouble()
        : throw Wrong(key, value, "a number");

    public double? OptionalNumber(string key) => Optional(key) is null ? null : Number(key);

    public bool Flag(string key, bool otherwise) =>
        Optional(key) is not { } value ? otherwise
        : value.ValueKind is JsonValueKind.True or JsonValueKind.False ? value.GetBoolean()
        : throw Wrong(key, value, "true or false");

    public string? Text(string key, string? otherwise) =>
        Optional(key) is not { } value ? otherwise
        : value.ValueKind == JsonValueKind.String ? value.GetString()
        : throw Wrong(key, value, "a string");

    public int[] Integers(string key, params int[] otherwise) =>
        Optional(key) is null && otherwise.Length > 0 ? otherwise
        : [.. List(key).Select(item => item.ValueKind == JsonValueKind.Number && item.TryGetInt32(out var number) && number >= 0
            ? number : throw Wrong(key, item, "a list of whole numbers"))];

    public int[][] IntegerLists(string key, int[][]? otherwise = null) =>
        Optional(key) is null && otherwise is not null ? otherwise
        : [.. List(key).Select(item => item.ValueKind == JsonValueKind.Array
            ? item.EnumerateArray().Select(inner => inner.TryGetInt32(out var number) ? number : throw Wrong(key, item, "whole numbers")).ToArray()
            : throw Wrong(key, item, "a list of lists"))];

    /// <summary>A list with one text per stage, which a file may shorten to a single text.</summary>
    public string[] TextPerStage(string key, int stages, string? otherwise = null)
    {
        var value = Optional(key);
        if (value is null || value.Value.ValueKind == JsonValueKind.String)
        {
            return [.. Enumerable.Repeat(value?.GetString() ?? otherwise ?? throw Missing(key), stages)];
        }

        return [.. List(key).Select(item => item.ValueKind == JsonValueKind.String ? item.GetString()! : throw Wrong(key, item, "a list of strings"))];
    }

    /// <summary>A list with one number per stage, which a file may shorten to a single number.</summary>
    public int[] IntegerPerStage(string key, int stages, int? otherwise = null) =>
        Optional(key) is not { ValueKind: JsonValueKind.Array } ? [.. Enumerable.Repeat(Integer(key, otherwise), stages)]
        : Integers(key) is var list && list.Length == stages ? list
        : throw Unsupported(key, $"a list of {list.Length}", $"one of {stages}, as many as block_out_channels");

    /// <summary>A list with true or false per stage, which a file may shorten to a single one.</summary>
    public bool[] FlagPerStage(string key, int stages, bool otherwise)
    {
        if (Optional(key) is not { ValueKind: JsonValueKind.Array } list)
        {
            return [.. Enumerable.Repeat(Flag(key, otherwise), stages)];
        }

        bool[] flags = [.. list.EnumerateArray().Select(item =>
            item.ValueKind is JsonValueKind.True or JsonValueKind.False ? item.GetBoolean() : throw Wrong(key, item, "a list of true and false"))];
        return flags.Length == stages ? flags : throw Unsupported(key, $"a list of {flags.Length}", $"one of {stages}, as many as block_out_channels");
    }

    /// <summary>A word out of those that are built.</summary>
    public string OneOf(string key, string otherwise, params ReadOnlySpan<string> supported)
    {
        var value = Text(key, otherwise)!;
        return supported.Contains(value) ? value : throw Unsupported(key, value, string.Join(" or ", supported.ToArray()));
    }

    /// <summary>Refuses parts of a network that are not built: keys that must be null or false.</summary>
    public void RefuseUnlessAbsent(params ReadOnlySpan<string> keys)
    {
        foreach (var key in keys)
        {
            if (Optional(key) is { ValueKind: not JsonValueKind.False } value)
            {
                throw Wrong(key, value, "null: this part of the network is not supported");
            }
        }
    }

    public CheckpointException Unsupported(string key, object? value, string wanted) =>
        config.Error(key, $"is {value ?? "null"}, expected {wanted}");

    private IEnumerable<JsonElement> List(string key)
    {
        var value = Optional(key) ?? throw Missing(key);
        return value.ValueKind == JsonValueKind.Array ? value.EnumerateArray() : throw Wrong(key, value, "a list");
    }

    private JsonElement? Optional(string key) => config.Find(key);

    private CheckpointException Missing(string key) => config.Error(key, "is missing");

    private CheckpointException Wrong(string key, JsonElement value, string wanted) =>
        config.Error(key, $"is {value.GetRawText().ReplaceLineEndings(" ")}, expected {wanted}");
}
