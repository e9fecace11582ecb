using System.Text.Json;

namespace MetaQuery.Models.Checkpoints;

/// <summary>A <c>config.json</c>, <c>scheduler_config.json</c> or the like: typed access by name, with errors that name file and field. A field
/// that is null counts as absent, as the reference libraries write None for "use the default".</summary>
public sealed class ConfigFile
{
    readonly JsonElement root;
    readonly string section;

    ConfigFile(string path, JsonElement root, string section) => (Path, this.root, this.section) = (path, root, section);

    public string Path { get; }

    /// <summary>The names of the fields, null ones included, in the file's order.</summary>
    public IEnumerable<string> Names => root.EnumerateObject().Select(static property => property.Name);

    /// <exception cref="CheckpointException">The file cannot be read, is no JSON, or is no JSON object.</exception>
    public static ConfigFile Open(string path) => Create(path, PythonJson.ReadFile(path));

    /// <summary>Reads text that lies in memory; <paramref name="name"/> is what errors call it.</summary>
    /// <exception cref="CheckpointException">The text is no JSON object.</exception>
    public static ConfigFile Parse(string name, string json) => Create(name, PythonJson.Parse(name, System.Text.Encoding.UTF8.GetBytes(json)));

    public bool Has(string name) => Find(name) is not null;

    public long Int64(string name) => OptionalInt64(name) ?? throw Missing(name);

    public long Int64(string name, long absent) => OptionalInt64(name) ?? absent;

    public long? OptionalInt64(string name) => Find(name) is not { } value ? null
        : value.ValueKind == JsonValueKind.Number && value.TryGetInt64(out long number) ? number : throw Mismatch(name, value, "an integer");

    public int Int32(string name) => Narrow(name, Int64(name));

    public int Int32(string name, int absent) => Narrow(name, Int64(name, absent));

    public double Double(string name) => OptionalDouble(name) ?? throw Missing(name);

    public double Double(string name, double absent) => OptionalDouble(name) ?? absent;

    public double? OptionalDouble(string name) => Find(name) is not { } value ? null
        : PythonJson.TryGetDouble(value, out double number) ? number : throw Mismatch(name, value, "a number");

    public bool Boolean(string name) => OptionalBoolean(name) ?? throw Missing(name);

    public bool Boolean(string name, bool absent) => OptionalBoolean(name) ?? absent;

    public string String(string name) => OptionalString(name) ?? throw Missing(name);

    public string String(string name, string absent) => OptionalString(name) ?? absent;

    public string? OptionalString(string name) => Find(name) is not { } value ? null
        : value.ValueKind == JsonValueKind.String && !PythonJson.TryGetDouble(value, out _) ? value.GetString() : throw Mismatch(name, value, "a string");

    public IReadOnlyList<long> Int64s(string name) => Elements(name, static (JsonElement value, out long number) => TryInt64(value, out number), "integers");

    public IReadOnlyList<double> Doubles(string name) => Elements<double>(name, PythonJson.TryGetDouble, "numbers");

    public IReadOnlyList<string> Strings(string name) => Elements(name, static (JsonElement value, out string text) => TryString(value, out text), "strings");

    /// <summary>An array of pairs of 32-bit integers.</summary>
    public IReadOnlyList<(int First, int Second)> Pairs(string name) =>
        Elements(name, static (JsonElement value, out (int First, int Second) pair) => TryPair(value, out pair), "pairs of integers");

    /// <summary>The object of that name, as a configuration of its own.</summary>
    public ConfigFile Section(string name) => OptionalSection(name) ?? throw Missing(name);

    public ConfigFile? OptionalSection(string name) => Find(name) is not { } value ? null
        : value.ValueKind == JsonValueKind.Object ? new ConfigFile(Path, value, section + name + ".") : throw Mismatch(name, value, "an object");

    /// <summary>The raw value, or null where it is absent or null; bare words such as -Infinity are marked strings there.</summary>
    public JsonElement? Find(string name) => root.TryGetProperty(name, out var value) && value.ValueKind != JsonValueKind.Null ? value : null;

    /// <summary>An error about a field of this file.</summary>
    public CheckpointException Error(string name, string reason) => CheckpointException.OfFile(Path, $"{CheckpointException.Quote(section + name)} {reason}");

    delegate bool TryRead<T>(JsonElement value, out T result);

    static ConfigFile Create(string path, JsonDocument document) => document.RootElement.ValueKind == JsonValueKind.Object
        ? new ConfigFile(path, document.RootElement, "")
        : throw CheckpointException.OfFile(path, "it must be a JSON object");

    static bool TryInt64(JsonElement value, out long number)
    {
        number = 0;
        return value.ValueKind == JsonValueKind.Number && value.TryGetInt64(out number);
    }

    static bool TryPair(JsonElement value, out (int First, int Second) pair)
    {
        pair = default;
        return value.ValueKind == JsonValueKind.Array && value.GetArrayLength() == 2 && value[0].ValueKind == JsonValueKind.Number && value[0].TryGetInt32(out pair.First)
            && value[1].ValueKind == JsonValueKind.Number && value[1].TryGetInt32(out pair.Second);
    }

    static bool TryString(JsonElement value, out string text)
    {
        text = value.ValueKind == JsonValueKind.String ? value.GetString()! : "";
        return value.ValueKind == JsonValueKind.String;
    }

    IReadOnlyList<T> Elements<T>(string name, TryRead<T> read, string what)
    {
        var value = Find(name) ?? throw Missing(name);
        if (value.ValueKind != JsonValueKind.Array)
            throw Mismatch(name, value, $"an array of {what}");
        var elements = new List<T>(value.GetArrayLength());
        foreach (var element in value.EnumerateArray())
            elements.Add(read(element, out var result) ? result : throw Mismatch(name, value, $"an array of {what}"));
        return elements;
    }

    bool? OptionalBoolean(string name) => Find(name) is not { } value ? null
        : value.ValueKind is JsonValueKind.True or JsonValueKind.False ? value.GetBoolean() : throw Mismatch(name, value, "a boolean");

    int Narrow(string name, long value) => value is >= int.MinValue and <= int.MaxValue ? (int)value : throw Error(name, $"is {value}, which is beyond 32 bits");

    CheckpointException Missing(string name) => Error(name, "is missing");

    CheckpointException Mismatch(string name, JsonElement value, string expected)
    {
        string text = value.GetRawText().ReplaceLineEndings(" ");
        return Error(name, $"is {(text.Length <= 60 ? text : text[..60] + "…")}, {expected} was expected");
    }
}
