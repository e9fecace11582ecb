using System.Text.Json;
using MetaQuery.Client;
using MetaQuery.Imaging;
using MetaQuery.Pipelines;

namespace MetaQuery.Silo.Web;

/// <summary>A chat request's messages, checked, as turns of a conversation.</summary>
internal static class ChatRequestReader
{
    // of a conversation; each may take some hundred MB of pixels while it is read
    private const int MostImages = 32;

    private static readonly string[] Unbuilt = ["tools", "functions", "logit_bias", "audio"];

    /// <summary>Refuses fields that would change an answer and are not built, rather than give another answer than was asked for.</summary>
    public static void RefuseUnbuilt(JsonElement body)
    {
        foreach (string name in Unbuilt)
        {
            if (body.TryGetProperty(name, out JsonElement value) && !IsEmpty(value))
            {
                throw ApiException.Invalid(name, $"{name} is not built here; leave it out", "unsupported_field");
            }
        }

        if (body.TryGetProperty("response_format", out JsonElement format) && format.ValueKind == JsonValueKind.Object
            && !(format.TryGetProperty("type", out JsonElement type) && type.ValueKind == JsonValueKind.String && type.GetString() == "text"))
        {
            throw ApiException.Invalid("response_format", "response_format must be {\"type\": \"text\"}, or left out", "unsupported_field");
        }
    }

    /// <exception cref="ApiException">A message is malformed: names it.</exception>
    public static IReadOnlyList<ChatTurn> Read(ChatRequest request)
    {
        var turns = new List<ChatTurn>(request.Messages.Count);
        for (int i = 0; i < request.Messages.Count; i++)
        {
            turns.Add(Read(request.Messages[i], $"messages[{i}]"));
        }

        int images = turns.Sum(turn => turn.Images.Count());
        return images <= MostImages ? turns : throw ApiException.Invalid("messages", $"the messages have {images} pictures; at most {MostImages} are taken");
    }

    private static ChatTurn Read(ChatMessage? message, string name)
    {
        if (message is null)
        {
            throw ApiException.Invalid(name, $"{name} must be a message, not null");
        }

        string role = message.Role switch
        {
            "developer" => "system", // OpenAI's newer name of it
            "system" or "user" or "assistant" => message.Role,
            _ => throw ApiException.Invalid($"{name}.role", $"{name}.role must be system, developer, user or assistant"),
        };
        if (message.Content is not { Parts.Count: > 0 } content)
        {
            throw ApiException.Invalid($"{name}.content", $"{name}.content must be a text, or a list of texts and pictures");
        }

        return new ChatTurn(role, [.. content.Parts.Select((part, i) => Read(part, role, content.Parts.Count == 1 ? $"{name}.content" : $"{name}.content[{i}]"))]);
    }

    private static ChatTurnPart Read(ChatContentPart? part, string role, string name) => part switch
    {
        { Type: "text", Text: { } text } => ChatTurnPart.Of(Checked(text, name)),
        { Type: "image_url", ImageUrl.Url: { } url } when role == "user" => ChatTurnPart.Of(Image(url, $"{name}.image_url.url")),
        { Type: "image_url", ImageUrl.Url: not null } => throw ApiException.Invalid(name, $"{name}: only a user's message may have pictures"),
        { Type: "text" } => throw ApiException.Invalid($"{name}.text", $"{name}.text is missing"),
        { Type: "image_url" } => throw ApiException.Invalid($"{name}.image_url", $"{name}.image_url must be an object with a url"),
        _ => throw ApiException.Invalid($"{name}.type", $"{name}.type must be text or image_url"),
    };

    private static string Checked(string text, string name) => text.Contains('\0', StringComparison.Ordinal)
        ? throw ApiException.Invalid(name, $"{name} holds a NUL at character {text.IndexOf('\0', StringComparison.Ordinal) + 1}") : text;

    private static PromptImage Image(string url, string name)
    {
        byte[] file = ImageDataUri.Read(url, name);
        PromptImage image;
        try
        {
            image = PromptImage.OfFile(file);
        }
        catch (ImageFormatException exception)
        {
            throw ApiException.Invalid(name, $"{name}: {exception.Message}", "invalid_image");
        }

        // what shows only when the pixels are read names its place too
        return new PromptImage(image.Hash, image.WidthPixels, image.HeightPixels, () =>
        {
            try
            {
                return image.Read();
            }
            catch (ImageFormatException exception)
            {
                throw new ImageFormatException($"{name}: {exception.Message}", exception);
            }
        });
    }

    private static bool IsEmpty(JsonElement value) => value.ValueKind switch
    {
        JsonValueKind.Null => true,
        JsonValueKind.Array => value.GetArrayLength() == 0,
        JsonValueKind.Object => !value.EnumerateObject().Any(),
        _ => false,
    };
}
