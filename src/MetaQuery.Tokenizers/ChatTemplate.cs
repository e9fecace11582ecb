using System.Text.Json;
using MetaQuery.Tokenizers.Templates;

namespace MetaQuery.Tokenizers;

/// <summary>
/// A checkpoint's own chat template: the part of Jinja that such templates use, with the settings of transformers (trim_blocks, lstrip_blocks,
/// <c>raise_exception</c>, <c>{% generation %}</c>). What a user wrote stays marked through every filter, so that the tokenizer can refuse it control tokens.
/// </summary>
public sealed class ChatTemplate
{
    private readonly Statement body;
    private readonly IReadOnlyDictionary<string, string> specialTokens;

    private ChatTemplate(string source, IReadOnlyDictionary<string, string>? specialTokens)
    {
        Source = source;
        this.specialTokens = specialTokens ?? new Dictionary<string, string>();
        body = new TemplateParser(source).ParseTemplate();
    }

    /// <summary>The template's text.</summary>
    public string Source { get; }

    /// <summary>Reads a template's text.</summary>
    /// <param name="text">Jinja source.</param>
    /// <param name="specialTokens">Variables such as <c>bos_token</c> and <c>eos_token</c>; their values are trusted.</param>
    /// <exception cref="ChatTemplateException">The text uses something unknown; the message names line and column.</exception>
    public static ChatTemplate Parse(string text, IReadOnlyDictionary<string, string>? specialTokens = null) => new(text, specialTokens);

    /// <summary>
    /// Reads the template of a checkpoint's folder: <c>chat_template.jinja</c>, <c>chat_template.json</c> or <c>tokenizer_config.json</c>, in this order,
    /// with the special tokens that <c>tokenizer_config.json</c> names.
    /// </summary>
    /// <exception cref="ChatTemplateException">None of the files holds a template, or it cannot be read.</exception>
    public static ChatTemplate FromFolder(string folder)
    {
        var jinja = Path.Combine(folder, "chat_template.jinja");
        var special = new Dictionary<string, string>();
        var configured = ReadTemplate(Path.Combine(folder, "tokenizer_config.json"), special);
        var text = (File.Exists(jinja) ? File.ReadAllText(jinja) : null) ?? ReadTemplate(Path.Combine(folder, "chat_template.json"), []) ?? configured;
        return text is null
            ? throw new ChatTemplateException($"{folder}: no chat_template.jinja, and no \"chat_template\" in chat_template.json or tokenizer_config.json")
            : Parse(text, special);
    }

    /// <summary>The prompt as one string. For a tokenizer use <see cref="RenderSegments"/>, which keeps apart what a user wrote.</summary>
    /// <exception cref="ChatTemplateException">The template raises an error, or applies an operation to a value that has none.</exception>
    public string Render(IEnumerable<ChatMessage> messages, bool addGenerationPrompt, IReadOnlyDictionary<string, object?>? variables = null) =>
        string.Concat(RenderSegments(messages, addGenerationPrompt, variables).Select(s => s.Text));

    /// <summary>The prompt as pieces: the template's own text and special tokens are trusted, messages are as they say. Hand it to <see cref="Tokenizer.EncodeToIds(IReadOnlyList{TextSegment})"/>.</summary>
    /// <param name="messages">The conversation so far.</param>
    /// <param name="addGenerationPrompt">Whether the header of the answer follows.</param>
    /// <param name="variables">More variables (null, bool, long, double, string); strings are untrusted.</param>
    /// <exception cref="ChatTemplateException">The template raises an error, or applies an operation to a value that has none.</exception>
    public IReadOnlyList<TextSegment> RenderSegments(
        IEnumerable<ChatMessage> messages, bool addGenerationPrompt, IReadOnlyDictionary<string, object?>? variables = null)
    {
        var scope = new Scope(TemplateGlobals.Create());
        foreach (var (name, value) in specialTokens)
        {
            scope.Set(name, MarkedText.Trusted(value));
        }

        foreach (var (name, value) in variables ?? new Dictionary<string, object?>())
        {
            scope.Set(name, value is string text ? MarkedText.Untrusted(text) : value is int number ? (long)number : value);
        }

        scope.Set("messages", messages.Select(ToValue).ToList());
        scope.Set("add_generation_prompt", addGenerationPrompt);
        var output = new List<MarkedText>();
        body(scope, output);
        return MarkedText.Concat(output).ToSegments();
    }

    private static object? ToValue(ChatMessage message) => new Dictionary<string, object?>
    {
        ["role"] = MarkedText.Untrusted(message.Role),
        ["content"] = message.Text is { } text ? MarkedText.Of(text, message.IsTrusted) : message.Parts!.Select(ToValue).ToList(),
    };

    private static object? ToValue(ChatPart part)
    {
        var value = new Dictionary<string, object?> { ["type"] = MarkedText.Trusted(part.Type) };
        if (part.Content is { } text)
        {
            value["text"] = MarkedText.Of(text, part.IsTrusted);
        }

        return value;
    }

    private static string? ReadTemplate(string path, Dictionary<string, string> specialTokens)
    {
        if (!File.Exists(path))
        {
            return null;
        }

        try
        {
            using var document = JsonDocument.Parse(File.ReadAllBytes(path));
            foreach (var property in document.RootElement.EnumerateObject().Where(p => p.Name.EndsWith("_token", StringComparison.Ordinal)))
            {
                var content = property.Value.ValueKind == JsonValueKind.Object && property.Value.TryGetProperty("content", out var inner) ? inner : property.Value;
                if (content.ValueKind == JsonValueKind.String)
                {
                    specialTokens[property.Name] = content.GetString()!;
                }
            }

            if (!document.RootElement.TryGetProperty("chat_template", out var template))
            {
                return null;
            }

            return template.ValueKind == JsonValueKind.Array // several, by name
                ? template.EnumerateArray().First(t => t.GetProperty("name").ValueEquals("default")).GetProperty("template").GetString()
                : template.GetString();
        }
        catch (Exception error) when (error is JsonException or InvalidOperationException or KeyNotFoundException)
        {
            throw new ChatTemplateException($"{path}: no readable \"chat_template\": {error.Message}");
        }
    }
}

/// <summary>A chat template that cannot be read or applied: one line with the place in the template.</summary>
public sealed class ChatTemplateException(string message) : Exception(message)
{
    /// <summary>Always false: the same template fails again.</summary>
    public bool IsTransient => false;
}
