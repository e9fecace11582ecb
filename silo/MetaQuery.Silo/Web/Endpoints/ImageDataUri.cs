using MetaQuery.Imaging;

namespace MetaQuery.Silo.Web;

/// <summary>Pictures inside a request, as <c>data:image/png;base64,…</c>. Nothing is fetched, and no path is read: a server that did could be sent anywhere.</summary>
internal static class ImageDataUri
{
    private const string Scheme = "data:";
    private const string Base64 = ";base64";

    /// <param name="uri">What the picture is, its bytes say; the stated type is not looked at.</param>
    /// <param name="name">The field, for the error.</param>
    /// <returns>The picture's file.</returns>
    /// <exception cref="ApiException">It is no data URI in base64, or an empty one.</exception>
    public static byte[] Read(string uri, string name)
    {
        if (!uri.StartsWith(Scheme, StringComparison.OrdinalIgnoreCase))
        {
            throw ApiException.Invalid(name, $"{name} must be a data URI such as data:image/png;base64,…; addresses are not fetched and paths are not read", "invalid_image_url");
        }

        int comma = uri.IndexOf(',', StringComparison.Ordinal);
        if (comma < 0 || !uri.AsSpan(0, comma).EndsWith(Base64, StringComparison.OrdinalIgnoreCase))
        {
            throw ApiException.Invalid(name, $"{name} must be in base64: data:image/png;base64,…", "invalid_image_url");
        }

        try
        {
            string data = uri[(comma + 1)..];
            byte[] file = Convert.FromBase64String(data.Contains('%', StringComparison.Ordinal) ? Uri.UnescapeDataString(data) : data);
            return file.Length > 0 ? file : throw ApiException.Invalid(name, $"{name} holds an empty file", "invalid_image");
        }
        catch (FormatException)
        {
            throw ApiException.Invalid(name, $"{name} is not valid base64", "invalid_image_url");
        }
    }
}
