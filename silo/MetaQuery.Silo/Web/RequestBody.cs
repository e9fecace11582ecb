using System.ComponentModel.DataAnnotations;
using System.Reflection;
using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
using Microsoft.AspNetCore.Http;

namespace MetaQuery.Silo.Web;

/// <summary>Reads a JSON body and checks it against the contract's own attributes, the same that the OpenAPI document states.</summary>
internal static class RequestBody
{
    private static readonly JsonDocumentOptions Strict = new() { AllowDuplicateProperties = false, MaxDepth = 32 };

    /// <summary>Reads a request's whole body.</summary>
    /// <param name="mostBytes">A longer one is refused with 413.</param>
    /// <param name="allowUnknown">Whether fields that the contract lacks are passed over.</param>
    /// <param name="refuse">Looks at the object first, to refuse what is not in the contract.</param>
    /// <exception cref="ApiException">The body is no JSON object of this contract: names the field.</exception>
    public static async Task<T> ReadAsync<T>(HttpContext context, JsonTypeInfo<T> type, long mostBytes, bool allowUnknown = false, Action<JsonElement>? refuse = null)
        where T : class
    {
        if (!context.Request.HasJsonContentType())
        {
            throw new ApiException(415, $"the body must be application/json, not {context.Request.ContentType ?? "of no stated type"}", "Content-Type", "unsupported_media_type");
        }

        byte[] bytes = await ReadBytesAsync(context.Request.Body, context.Request.ContentLength, mostBytes, context.RequestAborted);
        return Parse(bytes, type, allowUnknown, refuse);
    }

    /// <summary>Reads a stream of limited length.</summary>
    /// <exception cref="ApiException">It is longer.</exception>
    public static async Task<byte[]> ReadBytesAsync(Stream body, long? declared, long mostBytes, CancellationToken cancellationToken)
    {
        if (declared > mostBytes)
        {
            throw TooLarge(mostBytes);
        }

        using var whole = new MemoryStream();
        byte[] piece = new byte[16 * 1024];
        for (int count; (count = await body.ReadAsync(piece, cancellationToken)) > 0;)
        {
            if (whole.Length + count > mostBytes)
            {
                throw TooLarge(mostBytes);
            }

            whole.Write(piece, 0, count);
        }

        return whole.ToArray();
    }

    /// <exception cref="ApiException">The text is no JSON object of this contract: names the field.</exception>
    public static T Parse<T>(ReadOnlyMemory<byte> json, JsonTypeInfo<T> type, bool allowUnknown = false, Action<JsonElement>? refuse = null)
        where T : class
    {
        try
        {
            using JsonDocument document = JsonDocument.Parse(json, Strict);
            if (document.RootElement.ValueKind != JsonValueKind.Object)
            {
                throw ApiException.Invalid("body", $"the body must be a JSON object, not {Name(document.RootElement.ValueKind)}", "malformed");
            }

            refuse?.Invoke(document.RootElement);
            Check(document.RootElement, type, allowUnknown);
            return document.RootElement.Deserialize(type)!;
        }
        catch (Exception exception) when (exception is JsonException or InvalidOperationException or ArgumentException)
        {
            // InvalidOperationException: half a surrogate pair in the name of a field
            throw ApiException.Invalid("body", $"the body is not valid JSON: {Short(exception.Message.Split(". Path:")[0].Split(" LineNumber:")[0], 160)}", "malformed");
        }
    }

    private static void Check(JsonElement body, JsonTypeInfo type, bool allowUnknown)
    {
        var known = type.Properties.ToDictionary(property => property.Name);
        foreach (JsonProperty given in body.EnumerateObject())
        {
            if (known.Remove(given.Name, out JsonPropertyInfo? property))
            {
                Check(given, property, type.Options);
            }
            else if (!allowUnknown)
            {
                throw ApiException.Invalid(Short(given.Name), $"{Short(given.Name)} is no field of this request; there are {string.Join(", ", type.Properties.Select(field => field.Name))}", "unknown_field");
            }
        }

        if (known.Values.FirstOrDefault(property => property.IsRequired) is { } missing)
        {
            throw ApiException.Invalid(missing.Name, $"{missing.Name} is missing", "missing_field");
        }
    }

    private static void Check(JsonProperty given, JsonPropertyInfo property, JsonSerializerOptions options)
    {
        if (given.Value.ValueKind == JsonValueKind.Null)
        {
            if (property.IsRequired)
            {
                throw ApiException.Invalid(property.Name, $"{property.Name} must be {Describe(property.PropertyType)}, not null");
            }

            return;
        }

        object? value;
        try
        {
            value = given.Value.Deserialize(options.GetTypeInfo(property.PropertyType));
        }
        catch (JsonException exception) when (exception.Path is { Length: > 2 } path && path.StartsWith('$'))
        {
            string inside = property.Name + Short(path[1..], 100); // messages[0].role
            throw ApiException.Invalid(inside, $"{inside} is not what /openapi/v1.json states: missing, or of another type");
        }
        catch (Exception exception) when (exception is JsonException or InvalidOperationException or FormatException)
        {
            throw ApiException.Invalid(property.Name, $"{property.Name} must be {Describe(property.PropertyType)}, not {Shown(given.Value)}");
        }

        object[] attributes = property.AttributeProvider?.GetCustomAttributes(typeof(ValidationAttribute), inherit: true) ?? [];
        foreach (ValidationAttribute rule in attributes.Cast<ValidationAttribute>())
        {
            bool isEmptyToPattern = rule is RegularExpressionAttribute && value is ""; // which that attribute lets pass
            if (rule is not RequiredAttribute && (isEmptyToPattern || !rule.IsValid(value)))
            {
                throw ApiException.Invalid(property.Name, $"{property.Name} must be {Describe(rule)}, not {Shown(given.Value)}");
            }
        }

        switch (value)
        {
            case string text:
                CheckText(property.Name, text);
                break;
            case IReadOnlyList<string?> texts:
                for (int i = 0; i < texts.Count; i++)
                {
                    string name = $"{property.Name}[{i}]";
                    CheckText(name, texts[i] ?? throw ApiException.Invalid(name, $"{name} must be a text, not null"));
                }

                break;
            case float and not (> float.NegativeInfinity and < float.PositiveInfinity):
                throw ApiException.Invalid(property.Name, $"{property.Name} must be a finite number");
        }
    }

    private static void CheckText(string name, string text)
    {
        for (int i = 0; i < text.Length; i++)
        {
            if (text[i] == '\0')
            {
                throw ApiException.Invalid(name, $"{name} holds a NUL at character {i + 1}");
            }
        }
    }

    private static string Describe(Type type) => (Nullable.GetUnderlyingType(type) ?? type) switch
    {
        var t when t == typeof(string) => "a text",
        var t when t == typeof(bool) => "true or false",
        var t when t == typeof(int) => "a whole number",
        var t when t == typeof(ulong) => $"a whole number from 0 to {ulong.MaxValue}",
        var t when t == typeof(float) || t == typeof(double) => "a number",
        var t when t == typeof(long) => "a whole number",
        var t when t == typeof(DateTimeOffset) => "a time such as 2030-01-31T12:00:00Z",
        var t when t == typeof(IReadOnlyList<Client.ChatMessage>) => "a list of messages",
        var t when t == typeof(Client.ChatStop) => "a text or a list of texts",
        var t when t == typeof(Client.ChatStreamOptions) => "an object",
        _ => "a list of texts",
    };

    private static string Describe(ValidationAttribute rule) => rule switch
    {
        RangeAttribute range => $"from {range.Minimum} to {range.Maximum}",
        AllowedValuesAttribute allowed => string.Join(" or ", allowed.Values.Select(value => value is bool flag ? (flag ? "true" : "false") : value)),
        LengthAttribute length => $"{length.MinimumLength} to {length.MaximumLength} long",
        MaxLengthAttribute length => $"at most {length.Length} long",
        RegularExpressionAttribute => "WIDTHxHEIGHT such as 64x64, or auto",
        _ => "valid",
    };

    private static string Shown(JsonElement value) => value.ValueKind switch
    {
        JsonValueKind.String => value.GetRawText() is { Length: <= 60 } text ? text : $"a text of {value.GetRawText().Length - 2} characters",
        JsonValueKind.Number => Short(value.GetRawText()),
        JsonValueKind.Array => $"a list of {value.GetArrayLength()}",
        _ => Name(value.ValueKind),
    };

    private static string Short(string text, int most = 60) => text.Length <= most ? text : text[..(most - 3)] + "...";

    private static string Name(JsonValueKind kind) => kind switch
    {
        JsonValueKind.Object => "an object",
        JsonValueKind.Array => "a list",
        JsonValueKind.String => "a text",
        JsonValueKind.Number => "a number",
        _ => kind.ToString().ToLowerInvariant(),
    };

    public static ApiException TooLarge(long mostBytes) => new(413, $"the body is larger than {mostBytes} bytes", "body", "too_large");
}
