using System.Buffers;
using System.Text.Encodings.Web;
using System.Text.Json;

namespace MetaQuery.Data;

/// <summary>JSON as this room writes it: fields in the order of the calls, no spaces, UTF-8 text as it is, numbers in the invariant shortest notation.</summary>
internal static class JsonText
{
    private static readonly JsonWriterOptions Options = new()
    {
        // only what JSON demands is escaped: the text is never put into HTML as it stands
        Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
        SkipValidation = false,
    };

    /// <summary>An object, without a newline.</summary>
    public static ArrayBufferWriter<byte> Object(Action<Utf8JsonWriter> members)
    {
        var buffer = new ArrayBufferWriter<byte>(512);
        using var writer = new Utf8JsonWriter(buffer, Options);
        writer.WriteStartObject();
        members(writer);
        writer.WriteEndObject();
        writer.Flush();
        return buffer;
    }

    /// <summary>An object and a newline.</summary>
    public static byte[] Line(Action<Utf8JsonWriter> members)
    {
        ArrayBufferWriter<byte> buffer = Object(members);
        buffer.Write("\n"u8);
        return buffer.WrittenSpan.ToArray();
    }
}
