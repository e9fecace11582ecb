using System.Buffers;
using System.Text;
using System.Text.Json;

namespace MetaQuery.Data;

/// <summary>Records of a .csv file (RFC 4180): commas, quotes doubled inside quotes, line breaks inside quotes. Other columns become JSON texts.</summary>
internal sealed class CsvPromptParser
{
    private readonly PromptLimits _limits;
    private readonly PromptField[] _fields;
    private readonly JsonEncodedText[] _names;
    private readonly List<string> _cells = [];
    private readonly ArrayBufferWriter<byte> _others = new();

    private CsvPromptParser(List<string> header, PromptLimits limits)
    {
        _limits = limits;
        _fields = [.. header.Select(name => PromptFields.Known(name))];
        _names = [.. header.Select(name => JsonEncodedText.Encode(name, System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping))];
    }

    /// <returns>Null where the header is of no use: <paramref name="what"/> says why.</returns>
    public static CsvPromptParser? FromHeader(ReadOnlySpan<byte> record, PromptLimits limits, out string? what)
    {
        var header = new List<string>();
        what = Split(record, header, limits);
        if (what is not null)
        {
            return null;
        }

        var seen = new HashSet<string>(StringComparer.Ordinal);
        var known = new HashSet<PromptField>();
        foreach (string name in header)
        {
            PromptField field = PromptFields.Known(name);
            what ??= name.Length == 0 ? "the header has a column without a name"
                : !seen.Add(name) || (field != PromptField.Other && !known.Add(field)) ? $"the header has the column \"{PromptFields.Shorten(name)}\" twice"
                : field == PromptField.Other ? PromptFields.CheckReserved(name)
                : null;
        }

        if (what is null && !known.Contains(PromptField.Prompt))
        {
            what = $"the header has no column \"prompt\", it has: {PromptFields.Shorten(string.Join(',', header))}";
        }

        return what is null ? new CsvPromptParser(header, limits) : null;
    }

    /// <returns>What is wrong, or null.</returns>
    public string? Parse(ReadOnlySpan<byte> record, PromptFields fields)
    {
        if (Split(record, _cells, _limits) is string malformed)
        {
            return malformed;
        }

        if (_cells.Count != _fields.Length)
        {
            return $"has {_cells.Count} fields; the header has {_fields.Length}";
        }

        _others.ResetWrittenCount();
        for (int i = 0; i < _fields.Length; i++)
        {
            string cell = _cells[i];
            string? what = _fields[i] switch
            {
                PromptField.Other => WriteOther(_names[i], cell),
                PromptField.Prompt => fields.SetPrompt(cell, _limits),
                _ when cell.Length == 0 => null, // an empty cell is a field that is not there
                PromptField.Id => fields.SetId(cell, isNumber: false, _limits),
                PromptField.Seed => fields.SetSeed(cell),
                PromptField.Steps => fields.SetSteps(cell, _limits),
                PromptField.Guidance => fields.SetGuidance(cell, _limits),
                PromptField.Images => SetImages(fields, cell),
                PromptField.ImageGuidance => fields.SetImageGuidance(cell, _limits),
                _ => fields.SetNegativePrompt(cell, _limits),
            };
            if (what is not null)
            {
                return what;
            }
        }

        return fields.SetOtherFields(_others.WrittenSpan, _limits);
    }

    /// <summary>One picture as it stands, or several as a JSON list.</summary>
    private string? SetImages(PromptFields fields, string cell)
    {
        if (!cell.StartsWith('['))
        {
            return fields.SetImages([cell], _limits);
        }

        var reader = new Utf8JsonReader(Encoding.UTF8.GetBytes(cell));
        try
        {
            reader.Read();
            return JsonPromptParser.ReadTexts(ref reader, out List<string> images) && !reader.Read()
                ? fields.SetImages(images, _limits)
                : "the field \"images\" is no JSON list of texts";
        }
        catch (Exception exception) when (exception is JsonException or InvalidOperationException)
        {
            return "the field \"images\" begins as a JSON list and is none";
        }
    }

    private string? WriteOther(JsonEncodedText name, string cell)
    {
        if (_others.WrittenCount > 0)
        {
            _others.Write(","u8);
        }

        Quote(name.EncodedUtf8Bytes);
        _others.Write(":"u8);
        Quote(JsonEncodedText.Encode(cell, System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping).EncodedUtf8Bytes);
        return null;
    }

    private void Quote(ReadOnlySpan<byte> encoded)
    {
        _others.Write("\""u8);
        _others.Write(encoded);
        _others.Write("\""u8);
    }

    private static string? Split(ReadOnlySpan<byte> record, List<string> cells, PromptLimits limits)
    {
        cells.Clear();
        while (true)
        {
            if (cells.Count == limits.MaxFields)
            {
                return $"has more than {limits.MaxFields} fields";
            }

            int length;
            if (record is [(byte)'"', ..])
            {
                int close = ClosingQuote(record);
                if (close < 0)
                {
                    return $"the quoted field {cells.Count + 1} is not closed";
                }

                string text = Encoding.UTF8.GetString(record[1..close]);
                cells.Add(text.Contains('"') ? text.Replace("\"\"", "\"", StringComparison.Ordinal) : text);
                length = close + 1;
                if (length < record.Length && record[length] != (byte)',')
                {
                    return $"after the closing quote of field {cells.Count} a comma or the line's end is expected";
                }
            }
            else
            {
                int comma = record.IndexOf((byte)',');
                length = comma < 0 ? record.Length : comma;
                if (record[..length].Contains((byte)'"'))
                {
                    return $"a quote stands inside field {cells.Count + 1}, which is not quoted; quote the whole field and double the quotes in it";
                }

                cells.Add(Encoding.UTF8.GetString(record[..length]));
            }

            if (length == record.Length)
            {
                return null;
            }

            record = record[(length + 1)..];
        }
    }

    private static int ClosingQuote(ReadOnlySpan<byte> field)
    {
        int at = 1;
        while (true)
        {
            int quote = field[at..].IndexOf((byte)'"');
            if (quote < 0)
            {
                return -1;
            }

            at += quote;
            if (at + 1 == field.Length || field[at + 1] != (byte)'"')
            {
                return at;
            }

            at += 2;
        }
    }
}
