using System.Buffers.Text;

namespace MetaQuery.Farm;

/// <summary>A picture's file as text: <c>data:image/png;base64,…</c>. The media type is not looked at, the bytes tell.</summary>
public static class DataUri
{
    private const string Scheme = "data:";
    private const string InBase64 = ";base64";

    /// <summary>Tells it from the name of a file.</summary>
    public static bool IsOne(string text)
    {
        ArgumentNullException.ThrowIfNull(text);
        return text.StartsWith(Scheme, StringComparison.OrdinalIgnoreCase);
    }

    /// <param name="uri">Its base64 may be percent-encoded, as in an address.</param>
    /// <param name="what">Names it in the error.</param>
    /// <returns>The picture's file.</returns>
    /// <exception cref="PictureException">It is malformed, empty, or larger than <see cref="PictureLimits.MaxBytes"/>.</exception>
    public static byte[] Read(string uri, string what)
    {
        int comma = IsOne(uri) ? uri.IndexOf(',', StringComparison.Ordinal) : -1;
        if (comma < 0 || !uri.AsSpan(0, comma).EndsWith(InBase64, StringComparison.OrdinalIgnoreCase))
        {
            throw new PictureException($"{what} is not of the form data:image/png;base64,…");
        }

        string digits = uri[(comma + 1)..];
        digits = digits.Contains('%', StringComparison.Ordinal) ? Uri.UnescapeDataString(digits) : digits;
        if (!Base64.IsValid(digits, out int bytes))
        {
            throw new PictureException($"{what} holds what is no base64");
        }

        return bytes switch
        {
            0 => throw new PictureException($"{what} holds an empty file"),
            > PictureLimits.MaxBytes => throw PictureFiles.TooLarge(what, bytes),
            _ => Convert.FromBase64String(digits),
        };
    }
}
