using System.Text.Json;
using System.Text.Unicode;

namespace MetaQuery.Models.Checkpoints;

/// <summary>JSON as Python writes it: NaN, Infinity and -Infinity stand as bare words (Sana's <c>scheduler_config.json</c> has
/// <c>"lambda_min_clipped": -Infinity</c>). All else is strict: no comments, no duplicate names.</summary>
static class PythonJson
{
    const long LargestFileBytes = 64L << 20;

    /// <summary>Begins the string that a bare word is turned into; no text of a file begins so by accident.</summary>
    const string Mark = "\u0001python:";

    static readonly (byte[] Word, byte[] Quoted)[] Words =
    [
        ("-Infinity"u8.ToArray(), "\"\\u0001python:-Infinity\""u8.ToArray()),
        ("Infinity"u8.ToArray(), "\"\\u0001python:Infinity\""u8.ToArray()),
        ("NaN"u8.ToArray(), "\"\\u0001python:NaN\""u8.ToArray()),
    ];

    /// <exception cref="CheckpointException">The file cannot be read, or is no JSON.</exception>
    public static JsonDocument ReadFile(string path)
    {
        using var file = new MappedCheckpointFile(path);
        if (file.Length > LargestFileBytes)
            throw CheckpointException.OfFile(path, $"{file.Length} bytes are too many for a configuration, at most {LargestFileBytes} are read");
        byte[] bytes = GC.AllocateUninitializedArray<byte>((int)file.Length);
        file.Read(0, bytes);
        return Parse(path, bytes);
    }

    /// <exception cref="CheckpointException">The bytes are no JSON.</exception>
    public static JsonDocument Parse(string path, byte[] json)
    {
        if (!Utf8.IsValid(json))
            throw CheckpointException.OfFile(path, "it is not valid UTF-8");
        try
        {
            return JsonDocument.Parse(QuoteWords(json), new JsonDocumentOptions { AllowDuplicateProperties = false });
        }
        catch (JsonException e)
        {
            throw CheckpointException.OfFile(path, $"it is not valid JSON ({e.Message.ReplaceLineEndings(" ").TrimEnd('.')})", e);
        }
    }

    /// <summary>The number that a value stands for, bare words included.</summary>
    public static bool TryGetDouble(JsonElement value, out double number)
    {
        number = 0;
        if (value.ValueKind == JsonValueKind.Number)
            return value.TryGetDouble(out number);
        if (value.ValueKind != JsonValueKind.String || value.GetString() is not { } text || !text.StartsWith(Mark, StringComparison.Ordinal))
            return false;
        number = text.AsSpan(Mark.Length) switch { "NaN" => double.NaN, "Infinity" => double.PositiveInfinity, _ => double.NegativeInfinity };
        return true;
    }

    static ReadOnlyMemory<byte> QuoteWords(byte[] json)
    {
        MemoryStream? quoted = null;
        int copied = 0;
        bool inString = false;
        for (int i = 0; i < json.Length; i++)
        {
            byte c = json[i];
            if (inString)
            {
                if (c == '\\')
                    i++;
                else if (c == '"')
                    inString = false;
            }
            else if (c == '"')
            {
                inString = true;
            }
            else if (c is (byte)'N' or (byte)'I' or (byte)'-')
            {
                foreach (var (word, replacement) in Words)
                {
                    if (!json.AsSpan(i).StartsWith(word))
                        continue;
                    quoted ??= new MemoryStream(json.Length + 64);
                    quoted.Write(json, copied, i - copied);
                    quoted.Write(replacement);
                    i += word.Length - 1;
                    copied = i + 1;
                    break;
                }
            }
        }
        if (quoted is null)
            return json;
        quoted.Write(json, copied, json.Length - copied);
        return quoted.ToArray();
    }
}
