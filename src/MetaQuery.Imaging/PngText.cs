using System.IO.Compression;
using System.Text;

namespace MetaQuery.Imaging;

/// <summary>The text chunks of a PNG file (PNG 1.2, 11.3.4): where a picture's provenance travels.</summary>
public static class PngText
{
    private const int MaxKeywordBytes = 79;
    private const int MaxTextBytes = 1 << 24; // unpacked: a zTXt of a few bytes could ask for any amount

    /// <summary>All tEXt, zTXt and iTXt chunks in the file's order.</summary>
    /// <exception cref="ImageFormatException">Not a PNG, damaged, or a malformed text chunk.</exception>
    public static IReadOnlyList<ImageText> Read(ReadOnlySpan<byte> file)
    {
        if (!file.StartsWith(PngChunks.Signature))
        {
            throw new ImageFormatException("is not a PNG file");
        }

        var texts = new List<ImageText>();
        int at = PngChunks.Signature.Length;
        while (true)
        {
            PngChunk chunk = PngChunks.Read(file, ref at);
            switch (chunk.Type)
            {
                case "IEND":
                    return texts;
                case "tEXt" or "zTXt" or "iTXt":
                    texts.Add(Parse(chunk.Type, chunk.Data(file)));
                    break;
            }
        }
    }

    internal static void Write(Stream stream, ImageText text)
    {
        string keyword = text.Keyword;
        if (keyword.Length is < 1 or > MaxKeywordBytes || keyword != keyword.Trim(' ') || keyword.Contains("  ", StringComparison.Ordinal)
            || keyword.Any(letter => letter is not ((>= ' ' and <= '~') or (>= '\u00A1' and <= '\u00FF'))))
        {
            throw new ArgumentException($"\"{keyword}\" is not a PNG keyword: 1 to {MaxKeywordBytes} printable Latin-1 characters, no outer or double spaces", nameof(text));
        }

        if (text.Text.Contains('\0'))
        {
            throw new ArgumentException($"the text of \"{keyword}\" holds a NUL character", nameof(text));
        }

        bool latin = text.Text.All(letter => letter is '\n' or (>= ' ' and <= '~') or (>= '\u00A0' and <= '\u00FF'));
        byte[] head = Encoding.Latin1.GetBytes(keyword);
        PngChunks.Write(stream, latin ? "tEXt"u8 : "iTXt"u8, latin
            ? [.. head, 0, .. Encoding.Latin1.GetBytes(text.Text)]
            : [.. head, 0, 0, 0, 0, 0, .. Encoding.UTF8.GetBytes(text.Text)]); // not packed, no language, no translated keyword
    }

    private static ImageText Parse(string type, ReadOnlySpan<byte> data)
    {
        string keyword = Encoding.Latin1.GetString(Cut(type, ref data));
        bool packed = type == "zTXt";
        if (type != "tEXt")
        {
            int fixedBytes = packed ? 1 : 2;
            if (data.Length < fixedBytes)
            {
                throw Malformed(type);
            }

            packed |= type == "iTXt" && data[0] != 0;
            data = data[fixedBytes..];
            if (type == "iTXt")
            {
                Cut(type, ref data);
                Cut(type, ref data);
            }
        }

        ReadOnlySpan<byte> text = packed ? Unpack(type, data) : data;
        return new ImageText(keyword, (type == "iTXt" ? Encoding.UTF8 : Encoding.Latin1).GetString(text));
    }

    private static ReadOnlySpan<byte> Cut(string type, ref ReadOnlySpan<byte> data)
    {
        int end = data.IndexOf((byte)0);
        if (end < 0)
        {
            throw Malformed(type);
        }

        ReadOnlySpan<byte> head = data[..end];
        data = data[(end + 1)..];
        return head;
    }

    private static byte[] Unpack(string type, ReadOnlySpan<byte> data)
    {
        using var zlib = new ZLibStream(new MemoryStream(data.ToArray()), CompressionMode.Decompress);
        using var text = new MemoryStream();
        try
        {
            Span<byte> buffer = stackalloc byte[4096];
            while (zlib.Read(buffer) is > 0 and int read)
            {
                text.Write(buffer[..read]);
                if (text.Length > MaxTextBytes)
                {
                    throw new ImageFormatException($"a {type} chunk unpacks to more than {MaxTextBytes} bytes");
                }
            }
        }
        catch (InvalidDataException exception)
        {
            throw new ImageFormatException($"the PNG's {type} chunk cannot be unpacked", exception);
        }

        return text.ToArray();
    }

    private static ImageFormatException Malformed(string type) => new($"the PNG's {type} chunk is malformed");
}
