using System.Text.Json;

namespace MetaQuery.Models.Checkpoints;

/// <summary>A forward reader of JSON that a stranger wrote: RFC 8259 with nothing added, integers written as integers, strings that are
/// Unicode. Linear in the length of the text, bounded in depth, and every failure is a <see cref="CheckpointException"/>.</summary>
/// <remarks>The text must be valid UTF-8 already: <see cref="Utf8JsonReader"/> looks at that only where a string is taken out.</remarks>
ref struct StrictJson(string path, string part, ReadOnlySpan<byte> json)
{
    /// <summary>Deeper than any file that means something; the reader keeps its stack in bits, not in frames.</summary>
    const int MostDepth = 64;

    Utf8JsonReader reader = new(json, new JsonReaderOptions { MaxDepth = MostDepth, CommentHandling = JsonCommentHandling.Disallow, AllowTrailingCommas = false });

    /// <summary>The tensor whose entry is being read, for error messages.</summary>
    public string? Tensor { get; set; }

    public readonly CheckpointException Error(string reason, Exception? cause = null) =>
        Tensor is null ? CheckpointException.OfFile(path, reason, cause) : CheckpointException.OfTensor(path, Tensor, reason, cause);

    public readonly void RefuseTwice(bool seen, string field)
    {
        if (seen)
            throw Error($"the field {CheckpointException.Quote(field)} stands twice in its entry");
    }

    public void BeginObject(string what)
    {
        Advance();
        if (reader.TokenType != JsonTokenType.StartObject)
            throw Error($"{what} must be a JSON object, it is {Describe(reader.TokenType)}");
    }

    /// <summary>The name of the next property of the current object, or null at its end.</summary>
    /// <param name="known">Strings to give back rather than making new ones: a header repeats a few words a million times.</param>
    public string? NextProperty(string[]? known = null)
    {
        Advance();
        return reader.TokenType == JsonTokenType.EndObject ? null : Text(known);
    }

    /// <param name="what">What is read, for error messages.</param>
    /// <param name="known">As for <see cref="NextProperty"/>.</param>
    public string ReadString(string what, string[]? known = null)
    {
        Advance();
        return reader.TokenType == JsonTokenType.String ? Text(known) : throw Error($"{what} must be a string, it is {Describe(reader.TokenType)}");
    }

    /// <summary>Fills <paramref name="numbers"/> from an array of non-negative integers; returns how many there were.</summary>
    public int ReadUnsignedArray(scoped Span<ulong> numbers, string what)
    {
        Advance();
        if (reader.TokenType != JsonTokenType.StartArray)
            throw Error($"{what} must be an array, it is {Describe(reader.TokenType)}");
        for (int count = 0; ; count++)
        {
            Advance();
            if (reader.TokenType == JsonTokenType.EndArray)
                return count;
            if (count == numbers.Length)
                throw Error($"{what} has more than {numbers.Length} numbers");
            numbers[count] = Unsigned(what);
        }
    }

    /// <summary>Passes over the next value, whatever it is; its strings are checked all the same.</summary>
    public void SkipValue()
    {
        Advance();
        int depth = reader.CurrentDepth;
        bool nested = reader.TokenType is JsonTokenType.StartObject or JsonTokenType.StartArray;
        CheckText();
        while (nested)
        {
            Advance();
            CheckText();
            nested = reader.CurrentDepth > depth;
        }
    }

    /// <summary>Nothing but white space may follow.</summary>
    public void End()
    {
        try
        {
            if (!reader.Read())
                return;
        }
        catch (JsonException e)
        {
            throw Error($"the {part} goes on after its JSON object ({OneLine(e)})", e);
        }
        throw Error($"the {part} goes on after its JSON object");
    }

    readonly void CheckText()
    {
        if (reader.TokenType is JsonTokenType.String or JsonTokenType.PropertyName && reader.ValueIsEscaped)
            Text();
    }

    readonly string Text(string[]? known = null)
    {
        try
        {
            foreach (string text in known ?? [])
            {
                if (reader.ValueTextEquals(text))
                    return text;
            }
            return reader.GetString()!;
        }
        catch (InvalidOperationException e)
        {
            throw Error($"a string in the {part} holds half of a surrogate pair", e);
        }
    }

    readonly ulong Unsigned(string what)
    {
        if (reader.TokenType != JsonTokenType.Number)
            throw Error($"{what} must hold integers, it holds {Describe(reader.TokenType)}");
        ulong value = 0;
        foreach (byte c in reader.ValueSpan)
        {
            if (c is < (byte)'0' or > (byte)'9') // 1.0, 1e3 and -0 are other ways to write an integer: not here
                throw Error($"{what} must hold non-negative integers, it holds {NumberText()}");
            if (value > (ulong.MaxValue - (ulong)(c - '0')) / 10)
                throw Error($"{what} holds {NumberText()}, a number beyond 64 bits");
            value = (value * 10) + (ulong)(c - '0');
        }
        return value;
    }

    readonly string NumberText() => System.Text.Encoding.ASCII.GetString(reader.ValueSpan[..Math.Min(reader.ValueSpan.Length, 40)]);

    void Advance()
    {
        try
        {
            if (reader.Read())
                return;
        }
        catch (JsonException e)
        {
            throw Error($"the {part} is not valid JSON ({OneLine(e)})", e);
        }
        throw Error($"the {part} is not valid JSON (it ends too early)");
    }

    static string OneLine(JsonException e) => e.Message.ReplaceLineEndings(" ").TrimEnd('.');

    static string Describe(JsonTokenType type) => type switch
    {
        JsonTokenType.StartObject => "an object",
        JsonTokenType.StartArray => "an array",
        JsonTokenType.String => "a string",
        JsonTokenType.Number => "a number",
        JsonTokenType.True or JsonTokenType.False => "a boolean",
        JsonTokenType.Null => "null",
        _ => "nothing",
    };
}
