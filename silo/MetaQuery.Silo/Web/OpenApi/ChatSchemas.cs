using System.Text.Json.Nodes;
using MetaQuery.Client;
using Microsoft.OpenApi;

namespace MetaQuery.Silo.Web;

/// <summary>What the OpenAPI document says of the chat's fields that are a text or a list.</summary>
internal static class ChatSchemas
{
    public static void Complete(OpenApiSchema schema, Type type)
    {
        if (type == typeof(ChatContent))
        {
            schema.Type = null;
            schema.AnyOf = [Text(), List(Part())];
            schema.Examples = ["What is the capital of France?", new JsonArray(new JsonObject { ["type"] = "text", ["text"] = "What is shown?" })];
        }
        else if (type == typeof(ChatStop))
        {
            schema.Type = null;
            OpenApiSchema texts = List(Text());
            texts.MaxItems = ChatStop.Most;
            schema.AnyOf = [Text(), texts];
            schema.Examples = ["END", new JsonArray("END", "###")];
        }
    }

    private static OpenApiSchema Text() => new() { Type = JsonSchemaType.String };

    private static OpenApiSchema List(OpenApiSchema items) => new() { Type = JsonSchemaType.Array, MinItems = 1, Items = items };

    private static OpenApiSchema Part() => new()
    {
        Type = JsonSchemaType.Object,
        Required = new HashSet<string> { "type" },
        Properties = new Dictionary<string, IOpenApiSchema>
        {
            ["type"] = new OpenApiSchema { Type = JsonSchemaType.String, Enum = ["text", "image_url"] },
            ["text"] = Text(),
            ["image_url"] = new OpenApiSchema
            {
                Type = JsonSchemaType.Object,
                Required = new HashSet<string> { "url" },
                Properties = new Dictionary<string, IOpenApiSchema> { ["url"] = new OpenApiSchema { Type = JsonSchemaType.String, Description = "A data URI in base64." } },
            },
        },
    };
}
