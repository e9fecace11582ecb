using System.Text.Json;
using System.Text.Json.Nodes;
using MetaQuery.Client;
using MetaQuery.Farm;
using MetaQuery.Imaging;
using Microsoft.AspNetCore.Http;

namespace MetaQuery.Silo.Web;

/// <summary>Reads what <c>POST /v1/images/edits</c> takes: OpenAI's multipart/form-data, or JSON with data: URIs. Nothing in it is a path or an address.</summary>
internal static class ImageEdits
{
    private const int MostFieldBytes = 128 * 1024;

    /// <returns>The request, and its pictures' files.</returns>
    /// <exception cref="ApiException">A field is wrong; a picture is missing, too large, or none that is read here.</exception>
    public static async Task<(ImageEditRequest Request, IReadOnlyList<byte[]> Pictures)> ReadAsync(HttpContext context, long mostBytes)
    {
        if (context.Request.HasFormContentType)
        {
            return await ReadFormAsync(MultipartBody.Open(context, mostBytes), context.RequestAborted);
        }

        ImageEditRequest request = await RequestBody.ReadAsync(context, FarmJson.Default.ImageEditRequest, mostBytes, allowUnknown: true);
        if (request.Images is not { Count: > 0 } uris)
        {
            throw Missing();
        }

        return (request, [.. uris.Select((uri, i) => Checked(ImageDataUri.Read(uri, $"images[{i}]"), $"images[{i}]"))]);
    }

    private static async Task<(ImageEditRequest, IReadOnlyList<byte[]>)> ReadFormAsync(MultipartBody body, CancellationToken cancellationToken)
    {
        var fields = new JsonObject();
        var pictures = new List<byte[]>();
        while (await body.NextAsync(cancellationToken) is { } part)
        {
            if (part.Name is "image" or "image[]")
            {
                if (pictures.Count == ImageEditRequest.MaxImages)
                {
                    throw ApiException.Invalid("image", $"more than {ImageEditRequest.MaxImages} pictures were sent", "too_many_images");
                }

                pictures.Add(Checked(await part.ReadAsync(PictureLimits.MaxBytes, cancellationToken), "image"));
            }
            else if (part.Name == "mask")
            {
                throw ApiException.Invalid("mask", "mask is not supported: this model edits a whole picture by what the prompt says", "unsupported");
            }
            else if (!fields.TryAdd(part.Name, ValueOf(part.Name, await ReadTextAsync(part, cancellationToken))))
            {
                throw ApiException.Invalid(part.Name, $"{part.Name} comes twice");
            }
        }

        fields.Remove("images"); // of the JSON form: here they are files
        ImageEditRequest request = RequestBody.Parse(JsonSerializer.SerializeToUtf8Bytes(fields, JsonNodeContext.Default.JsonObject), FarmJson.Default.ImageEditRequest, allowUnknown: true);
        return pictures.Count > 0 ? (request, pictures) : throw Missing();
    }

    /// <summary>A form's text as the JSON value that its field takes; what is none stays a text, which the contract then refuses.</summary>
    private static JsonNode? ValueOf(string name, string text)
    {
        Type? type = FarmJson.Default.ImageEditRequest.Properties.FirstOrDefault(property => property.Name == name)?.PropertyType;
        if (type is null || type == typeof(string) || text.Length == 0)
        {
            return text.Length == 0 && type != typeof(string) ? null : text;
        }

        try
        {
            return JsonNode.Parse(text) is JsonValue value ? value : text;
        }
        catch (JsonException)
        {
            return text;
        }
    }

    private static async Task<string> ReadTextAsync(MultipartPart part, CancellationToken cancellationToken)
    {
        try
        {
            return new System.Text.UTF8Encoding(false, throwOnInvalidBytes: true).GetString(await part.ReadAsync(MostFieldBytes, cancellationToken));
        }
        catch (System.Text.DecoderFallbackException)
        {
            throw ApiException.Invalid(part.Name, $"{part.Name} is not UTF-8");
        }
    }

    /// <summary>By its header alone: what is wrong further in is told when it is read.</summary>
    private static byte[] Checked(byte[] file, string param)
    {
        try
        {
            ImageDecoder.IdentifyStill(file, PictureLimits.MaxPixels);
            return file;
        }
        catch (ImageFormatException exception)
        {
            throw ApiException.Invalid(param, $"{param}: {exception.Message}", "invalid_image");
        }
    }

    private static ApiException Missing() =>
        ApiException.Invalid("image", "image is missing: one or more parts named image (or image[]) of multipart/form-data, or images of a JSON body", "missing_field");
}

/// <summary>Writes nodes without reflection.</summary>
[System.Text.Json.Serialization.JsonSerializable(typeof(JsonObject))]
internal sealed partial class JsonNodeContext : System.Text.Json.Serialization.JsonSerializerContext;
