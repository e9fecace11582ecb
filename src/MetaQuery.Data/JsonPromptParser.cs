using System.Buffers;
using System.Text;
using System.Text.Json;

namespace MetaQuery.Data;

/// <summary>A line of a .jsonl file. Other fields are copied byte by byte, so that the order, numbers like 1.10 and escapes stay as they were.</summary>
internal sealed class JsonPromptParser(PromptLimits limits)
{
    private static readonly JsonReaderOptions Options = new() { CommentHandling = JsonCommentHandling.Disallow, MaxDepth = 64 };

    private readonly ArrayBufferWriter<byte> _others = new();
    private readonly HashSet<string> _names = new(StringComparer.Ordinal);

    /// <returns>What is wrong, or null.</returns>
    public string? Parse(ReadOnlySpan<byte> line, PromptFields fields)
    {
        var reader = new Utf8JsonReader(line, Options);
        try
        {
            _others.ResetWrittenCount();
            _names.Clear();
            if (!reader.Read() || reader.TokenType != JsonTokenType.StartObject)
            {
                return "is not a JSON object";
            }

            while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
            {
                if (ParseMember(line, ref reader, fields) is string what)
                {
                    return what;
                }
            }

            reader.Read(); // throws where something follows the object
        }
        catch (JsonException exception)
        {
            string message = exception.Message;
            int tail = message.IndexOf(" LineNumber:", StringComparison.Ordinal);
            return $"is not valid JSON at column {exception.BytePositionInLine + 1}: {PromptMessages.OneLine(tail < 0 ? message : message[..tail])}";
        }
        catch (InvalidOperationException)
        {
            // Utf8JsonReader.GetString on an escape like \ud800 without its other half
            return $"holds half a surrogate pair as an escape before column {reader.BytesConsumed + 1}";
        }

        return fields.SetOtherFields(_others.WrittenSpan, limits);
    }

    private string? ParseMember(ReadOnlySpan<byte> line, ref Utf8JsonReader reader, PromptFields fields)
    {
        string name = reader.GetString()!;
        int nameStart = (int)reader.TokenStartIndex;
        int nameEnd = nameStart + reader.ValueSpan.Length + 2;
        if (!_names.Add(name))
        {
            return $"the field \"{PromptFields.Shorten(name)}\" stands twice";
        }

        if (_names.Count > limits.MaxFields)
        {
            return $"has more than {limits.MaxFields} fields";
        }

        reader.Read();
        PromptField field = PromptFields.Known(name);
        if (field == PromptField.Other)
        {
            int start = (int)reader.TokenStartIndex;
            reader.Skip();
            if (_others.WrittenCount > 0)
            {
                _others.Write(","u8);
            }

            _others.Write(line[nameStart..nameEnd]);
            _others.Write(":"u8);
            _others.Write(line[start..(int)reader.BytesConsumed]);
            return PromptFields.CheckReserved(name);
        }

        if (reader.TokenType == JsonTokenType.Null)
        {
            return null; // as if it were not there
        }

        switch (field)
        {
            case PromptField.Prompt:
                return reader.TokenType == JsonTokenType.String ? fields.SetPrompt(reader.GetString()!, limits) : WrongType(name, "a text", reader.TokenType);
            case PromptField.NegativePrompt:
                return reader.TokenType == JsonTokenType.String ? fields.SetNegativePrompt(reader.GetString()!, limits) : WrongType(name, "a text", reader.TokenType);
            case PromptField.Id when reader.TokenType == JsonTokenType.String:
                return fields.SetId(reader.GetString()!, isNumber: false, limits);
            case PromptField.Id when reader.TokenType == JsonTokenType.Number:
                return fields.SetId(Encoding.ASCII.GetString(reader.ValueSpan), isNumber: true, limits);
            case PromptField.Id:
                return WrongType(name, "a text or a number", reader.TokenType);
            case PromptField.Images:
                return ParseImages(ref reader, name, fields);
        }

        if (reader.TokenType != JsonTokenType.Number)
        {
            return WrongType(name, "a number", reader.TokenType);
        }

        string number = Encoding.ASCII.GetString(reader.ValueSpan);
        return field switch
        {
            PromptField.Seed => fields.SetSeed(number),
            PromptField.Steps => fields.SetSteps(number, limits),
            PromptField.ImageGuidance => fields.SetImageGuidance(number, limits),
            _ => fields.SetGuidance(number, limits),
        };
    }

    private string? ParseImages(ref Utf8JsonReader reader, string name, PromptFields fields)
    {
        if (reader.TokenType == JsonTokenType.String)
        {
            return fields.SetImages([reader.GetString()!], limits);
        }

        if (reader.TokenType != JsonTokenType.StartArray)
        {
            return WrongType(name, "a list of texts", reader.TokenType);
        }

        return ReadTexts(ref reader, out List<string> images) ? fields.SetImages(images, limits) : WrongType(name, "a list of texts", JsonTokenType.None);
    }

    /// <summary>Reads a list of texts to its end, from its opening bracket on.</summary>
    /// <returns>False where something else is in it.</returns>
    public static bool ReadTexts(ref Utf8JsonReader reader, out List<string> texts)
    {
        texts = [];
        while (reader.Read() && reader.TokenType != JsonTokenType.EndArray)
        {
            if (reader.TokenType != JsonTokenType.String)
            {
                return false;
            }

            texts.Add(reader.GetString()!);
        }

        return true;
    }

    private static string WrongType(string name, string right, JsonTokenType token)
    {
        string got = token switch
        {
            JsonTokenType.StartObject => "an object",
            JsonTokenType.StartArray => "an array",
            JsonTokenType.String => "a text",
            JsonTokenType.Number => "a number",
            JsonTokenType.None => "a list of other things",
            _ => "true or false",
        };
        return $"the field \"{name}\" is {got}; it should be {right}";
    }
}

internal static class PromptMessages
{
    /// <summary>A message of another library, on one line and without its control characters.</summary>
    public static string OneLine(string text) => string.Create(text.Length, text, static (span, source) =>
    {
        for (int i = 0; i < span.Length; i++)
        {
            span[i] = char.IsControl(source[i]) ? ' ' : source[i];
        }
    });
}
