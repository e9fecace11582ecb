using System.Globalization;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace MetaQuery.Silo.Tests.Fuzz;

/// <summary>Values made from the schemas of an OpenAPI document: such as the schema takes, and such as it does not.</summary>
internal sealed class SchemaValues(JsonElement document, Random random)
{
    private static readonly string[] Words = ["a", "red", "apple", "on", "grass", "Straße", "猫", "🍎", "\"quoted\"", "back\\slash", "{{ template }}", "<|im_end|>", "%00", "../..", "' OR 1=1"];

    private static readonly string[] Junk =
    [
        "null", "true", "-1", "0", "1e400", "99999999999999999999", "1.5", "\"\"", "\"x\"", "[]", "{}", "[[[[]]]]", "{\"a\":{\"b\":null}}", "\"\\ud800\"", "\"\\u0000\"", "[null]", "[1,\"a\",{}]", "\"9\"", "-0.0", "\"auto\"",
    ];

    /// <summary>A value that the schema takes.</summary>
    public JsonNode? Valid(JsonElement schema, string name = "")
    {
        schema = Resolve(schema);
        if (schema.TryGetProperty("enum", out JsonElement values))
        {
            return JsonNode.Parse(Pick(values).GetRawText());
        }

        if (schema.TryGetProperty("examples", out JsonElement examples))
        {
            return JsonNode.Parse(Pick(examples).GetRawText());
        }

        return TypeOf(schema) switch
        {
            "integer" => Whole(schema, name),
            "number" => Math.Round(Bound(schema, "minimum", 0) + (random.NextDouble() * (Bound(schema, "maximum", 100) - Bound(schema, "minimum", 0))), 3),
            "boolean" => random.Next(2) == 0,
            "array" => new JsonArray([.. Enumerable.Range(0, random.Next(1, 4)).Select(_ => Valid(schema.GetProperty("items")))]),
            "object" => Object(schema),
            _ => Text(schema),
        };
    }

    /// <summary>A JSON text that is almost certainly not what the schema takes: a valid one with something broken.</summary>
    public string Broken(JsonElement schema)
    {
        JsonNode? valid = Valid(schema);
        if (valid is JsonObject fields && random.Next(5) > 0)
        {
            string[] names = [.. Resolve(schema).GetProperty("properties").EnumerateObject().Select(field => field.Name)];
            string name = random.Next(8) == 0 ? "un" + names[random.Next(names.Length)] : names[random.Next(names.Length)];
            fields.Remove(name);
            string rest = fields.ToJsonString();
            return $"{rest[..^1]}{(fields.Count > 0 ? "," : "")}{JsonSerializer.Serialize(name)}:{Junk[random.Next(Junk.Length)]}}}";
        }

        string text = valid?.ToJsonString() ?? "null";
        return random.Next(4) switch
        {
            0 => text[..random.Next(text.Length)],
            1 => text.Insert(random.Next(text.Length), ((char)random.Next(1, 0x3000)).ToString()),
            2 => Junk[random.Next(Junk.Length)],
            _ => new string(random.Next(2) == 0 ? '[' : '{', random.Next(1, 200)),
        };
    }

    /// <summary>Words, as a prompt has.</summary>
    public string Prompt() => string.Join(' ', Enumerable.Range(0, random.Next(1, 8)).Select(_ => Words[random.Next(Words.Length)]));

    /// <summary>Any text at all, for places that should not choke on it.</summary>
    public string Anything()
    {
        var text = new StringBuilder();
        for (int length = random.Next(0, 40); length > 0; length--)
        {
            text.Append(random.Next(4) == 0 ? (char)random.Next(0x21, 0xd7ff) : (char)random.Next(0x21, 0x7f));
        }

        return text.ToString();
    }

    private JsonObject Object(JsonElement schema)
    {
        var result = new JsonObject();
        string[] required = schema.TryGetProperty("required", out JsonElement names) ? [.. names.EnumerateArray().Select(name => name.GetString()!)] : [];
        foreach (JsonProperty field in schema.GetProperty("properties").EnumerateObject())
        {
            if (required.Contains(field.Name) || random.Next(3) == 0)
            {
                result[field.Name] = Valid(field.Value, field.Name);
            }
        }

        return result;
    }

    private JsonNode Whole(JsonElement schema, string name)
    {
        double least = Bound(schema, "minimum", 0), most = Bound(schema, "maximum", 1000);
        // what multiplies the farm's work stays small: the numbers themselves are tried at their bounds elsewhere
        most = name is "images_per_prompt" or "n" ? Math.Min(most, 3) : most;
        double value = random.Next(6) switch { 0 => least, 1 => most, _ => least + Math.Floor(random.NextDouble() * Math.Min(most - least, 1e15)) };
        return JsonNode.Parse((value >= long.MaxValue ? (decimal)long.MaxValue : (decimal)value).ToString(CultureInfo.InvariantCulture))!;
    }

    private JsonNode Text(JsonElement schema)
    {
        if (schema.TryGetProperty("format", out JsonElement format) && format.GetString() == "date-time")
        {
            return DateTimeOffset.UtcNow.AddMinutes(random.Next(60, 1_000_000)).ToString("O", CultureInfo.InvariantCulture);
        }

        string text = Prompt();
        return schema.TryGetProperty("maxLength", out JsonElement most) && text.Length > most.GetInt32() ? text[..most.GetInt32()].TrimEnd('\ud83c') : text;
    }

    private static double Bound(JsonElement schema, string name, double standard) => schema.TryGetProperty(name, out JsonElement bound)
        ? bound.ValueKind == JsonValueKind.String ? double.Parse(bound.GetString()!, CultureInfo.InvariantCulture) : bound.GetDouble()
        : standard;

    private static string TypeOf(JsonElement schema)
    {
        if (!schema.TryGetProperty("type", out JsonElement type))
        {
            return "object";
        }

        string[] types = type.ValueKind == JsonValueKind.String ? [type.GetString()!] : [.. type.EnumerateArray().Select(one => one.GetString()!)];

        // numbers may also be written as texts with a pattern, says the generator of such documents; a number is what is meant
        return types.FirstOrDefault(one => one is "integer" or "number") ?? types.First(one => one != "null");
    }

    private JsonElement Resolve(JsonElement schema)
    {
        if (schema.TryGetProperty("oneOf", out JsonElement several))
        {
            return Resolve(several.EnumerateArray().Last());
        }

        return schema.TryGetProperty("$ref", out JsonElement reference)
            ? reference.GetString()!.Split('/').Skip(1).Aggregate(document, (at, step) => at.GetProperty(step))
            : schema;
    }

    private JsonElement Pick(JsonElement array) => array[random.Next(array.GetArrayLength())];
}
