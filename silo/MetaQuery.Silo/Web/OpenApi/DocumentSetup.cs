using System.ComponentModel.DataAnnotations;
using System.Text.Json.Nodes;
using MetaQuery.Client;
using MetaQuery.Farm;
using Microsoft.AspNetCore.OpenApi;
using Microsoft.OpenApi;

namespace MetaQuery.Silo.Web;

/// <summary>What the OpenAPI document says beyond what ASP.NET Core finds by itself.</summary>
internal static class DocumentSetup
{
    public static void Configure(OpenApiOptions options, ImageModelInfo model)
    {
        options.AddDocumentTransformer((document, _, _) =>
        {
            document.Info = new OpenApiInfo { Title = "MetaQuery.Farm", Version = "v1", Description = "Prompts become pictures, prompt files become image data sets. docs/api.md tells how." };
            document.Servers = [];
            document.Components ??= new OpenApiComponents();
            document.Components.SecuritySchemes = new Dictionary<string, IOpenApiSecurityScheme>
            {
                ["key"] = new OpenApiSecurityScheme { Type = SecuritySchemeType.Http, Scheme = "bearer", Description = "A key of ./farm keys add; on loopback without keys any, or none." },
            };
            document.Security = [new OpenApiSecurityRequirement { [new OpenApiSecuritySchemeReference("key", document)] = [] }];
            return Task.CompletedTask;
        });
        options.AddOperationTransformer((operation, context, _) =>
        {
            IList<object> metadata = context.Description.ActionDescriptor.EndpointMetadata;
            operation.Parameters ??= [];
            foreach (QueryParameter parameter in metadata.OfType<QueryParameter>())
            {
                operation.Parameters.Add(Of(parameter));
            }

            if (metadata.OfType<IdempotencyKeyHeader>().Any())
            {
                operation.Parameters.Add(Header(IdempotencyKeyHeader.Name, "The same key with the same content gives the job made before.", $"^[!-~]{{1,{IdempotencyKeyHeader.MostCharacters}}}$"));
            }

            if (metadata.OfType<LastEventIdHeader>().Any())
            {
                operation.Parameters.Add(Header("Last-Event-ID", "Goes on after this event.", "^[!-~]{1,200}$"));
            }

            if (operation.RequestBody?.Content?.ContainsKey("multipart/form-data") == true)
            {
                IOpenApiSchema json = operation.RequestBody.Content["application/json"].Schema!;
                operation.RequestBody.Content["multipart/form-data"] = operation.OperationId == "editImages" ? Edit() : Upload(json);
            }

            return Task.CompletedTask;
        });
        options.AddSchemaTransformer((schema, context, _) =>
        {
            object[] attributes = context.JsonPropertyInfo?.AttributeProvider?.GetCustomAttributes(typeof(ValidationAttribute), inherit: true) ?? [];
            if (attributes.OfType<AllowedValuesAttribute>().FirstOrDefault() is { } allowed)
            {
                schema.Enum = [.. allowed.Values.Select(value => value is bool flag ? (JsonNode)flag : JsonValue.Create((string?)value)!)];
            }

            if (context.JsonPropertyInfo is { Name: "size", AttributeProvider: not null } && attributes.OfType<RegularExpressionAttribute>().Any())
            {
                // the pattern says how a size is written; the examples, which sizes this model makes
                schema.Examples = [.. Sizes(model).Select(size => (JsonNode)size)];
            }

            if (context.JsonPropertyInfo is null && context.JsonTypeInfo.Type == typeof(JobRequest))
            {
                schema.AdditionalPropertiesAllowed = false;
            }

            ChatSchemas.Complete(schema, context.JsonTypeInfo.Type);
            if (context.JsonPropertyInfo is { Name: "prompts" } && schema.Items is OpenApiSchema prompt)
            {
                (prompt.MinLength, prompt.MaxLength) = (1, JobRequest.MaxPromptCharacters);
            }

            if (context.JsonPropertyInfo is { Name: "images" } && schema.Items is OpenApiSchema picture)
            {
                picture.Examples = [(JsonNode)BlackPixel];
            }

            return Task.CompletedTask;
        });
    }

    // a PNG of one black pixel
    private const string BlackPixel = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGNgYGAAAAAEAAH2FzhVAAAAAElFTkSuQmCC";

    private static IEnumerable<string> Sizes(ImageModelInfo model) =>
    [
        "auto", Wire.Size(model.DefaultSize), Wire.Size(new ImageSize(model.MinSizePixels, model.MinSizePixels)),
        Wire.Size(new ImageSize(model.MinSizePixels, Math.Min(model.MaxSizePixels, model.MinSizePixels + model.SizeMultiplePixels))),
    ];

    private static OpenApiParameter Of(QueryParameter parameter)
    {
        var schema = new OpenApiSchema { Type = JsonSchemaType.String };
        if (parameter.Most is not null)
        {
            schema = new OpenApiSchema
            {
                Type = JsonSchemaType.Integer, Format = "int64", Minimum = parameter.Least?.ToString(), Maximum = parameter.Most?.ToString(), Default = parameter.Standard,
            };
        }
        else if (parameter.Values is { } values)
        {
            var one = new OpenApiSchema { Type = JsonSchemaType.String, Enum = [.. values.Select(value => (JsonNode)value)] };
            schema = parameter.IsList ? new OpenApiSchema { Type = JsonSchemaType.Array, Items = one } : one;
        }

        return new OpenApiParameter
        {
            Name = parameter.Name, In = ParameterLocation.Query, Description = parameter.Description, Schema = schema, Explode = !parameter.IsList,
            Style = parameter.IsList ? ParameterStyle.Form : null,
        };
    }

    private static OpenApiParameter Header(string name, string description, string pattern) => new()
    {
        Name = name, In = ParameterLocation.Header, Description = description, Schema = new OpenApiSchema { Type = JsonSchemaType.String, Pattern = pattern },
    };

    private static OpenApiMediaType Upload(IOpenApiSchema job) => new()
    {
        Schema = new OpenApiSchema
        {
            Type = JsonSchemaType.Object,
            Description = "job first (it may be left out), then prompts, then the pictures that its lines name: parts of those names, or parts named pictures with those file names.",
            Required = new HashSet<string> { "prompts" },
            Properties = new Dictionary<string, IOpenApiSchema>
            {
                ["job"] = job,
                ["prompts"] = new OpenApiSchema { Type = JsonSchemaType.String, Format = "binary", Description = "A .txt, .jsonl or .csv file." },
            },
        },
    };

    /// <summary>The form that OpenAI's clients send; its other fields are those of the JSON body, as texts.</summary>
    private static OpenApiMediaType Edit() => new()
    {
        Schema = new OpenApiSchema
        {
            Type = JsonSchemaType.Object,
            Description = "The JSON body's fields as texts, and one or more parts named image or image[].",
            Required = new HashSet<string> { "image" },
            Properties = new Dictionary<string, IOpenApiSchema>
            {
                ["image"] = new OpenApiSchema { Type = JsonSchemaType.String, Format = "binary", Description = "A PNG, JPEG or WebP file." },
                ["prompt"] = new OpenApiSchema { Type = JsonSchemaType.String, MaxLength = JobRequest.MaxPromptCharacters },
            },
        },
    };
}
