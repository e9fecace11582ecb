namespace MetaQuery.Tokenizers.Templates;

internal delegate object? Expression(Scope scope);

internal delegate Flow Statement(Scope scope, List<MarkedText> output);

internal delegate object? Callable(IReadOnlyList<object?> arguments, IReadOnlyDictionary<string, object?> named);

/// <summary>How a statement ended.</summary>
internal enum Flow
{
    Next,
    Break,
    Continue,
}

/// <summary>Variables. A loop's body and a macro have a scope of their own, an if has none.</summary>
internal sealed class Scope(Scope? parent)
{
    private readonly Dictionary<string, object?> values = [];

    public object? Get(string name) =>
        values.TryGetValue(name, out var value) ? value : parent is null ? new Undefined(name) : parent.Get(name);

    public void Set(string name, object? value) => values[name] = value;
}

/// <summary>A missing variable or attribute: prints as nothing, but has no attributes of its own.</summary>
internal sealed record Undefined(string Name);

/// <summary>Jinja's <c>namespace()</c>: attributes that outlive a loop's scope.</summary>
internal sealed class NamespaceValue
{
    public Dictionary<string, object?> Attributes { get; } = [];
}

/// <summary>An operation that a value does not have. The parser's wrapper adds the place.</summary>
internal sealed class TemplateValueException(string message) : Exception(message);
