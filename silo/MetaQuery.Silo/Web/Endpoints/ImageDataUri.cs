using MetaQuery.Farm;

namespace MetaQuery.Silo.Web;

/// <summary>Pictures inside a request, as <c>data:image/png;base64,…</c>. Nothing is fetched, and no path is read: a server that did could be sent anywhere.</summary>
internal static class ImageDataUri
{
    /// <param name="uri">What the picture is, its bytes say; the stated type is not looked at.</param>
    /// <param name="name">The field, for the error.</param>
    /// <returns>The picture's file.</returns>
    /// <exception cref="ApiException">It is no data URI in base64, an empty one, or a large one.</exception>
    public static byte[] Read(string uri, string name)
    {
        if (!DataUri.IsOne(uri))
        {
            throw ApiException.Invalid(name, $"{name} must be a data URI such as data:image/png;base64,…; addresses are not fetched and paths are not read", "invalid_image_url");
        }

        try
        {
            return DataUri.Read(uri, name);
        }
        catch (PictureException exception)
        {
            throw exception.IsTooLarge ? new ApiException(413, exception.Message, name, "too_large") : ApiException.Invalid(name, exception.Message, "invalid_image_url");
        }
    }
}
