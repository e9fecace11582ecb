namespace MetaQuery.Tokenizers.Templates;

/// <summary>Python's methods of strings, dictionaries and lists that templates call.</summary>
internal static class Methods
{
    public static Callable? Find(object? value, string name) => value switch
    {
        MarkedText text => OfText(text, name),
        Dictionary<string, object?> items => OfDictionary(items, name),
        List<object?> items => name switch
        {
            "index" => (a, _) => (long)items.FindIndex(i => Values.AreEqual(i, a[0])),
            "count" => (a, _) => (long)items.Count(i => Values.AreEqual(i, a[0])),
            _ => null,
        },
        _ => null,
    };

    private static Callable? OfText(MarkedText text, string name) => name switch
    {
        "strip" => (a, _) => text.Trim(Optional(a), left: true, right: true),
        "lstrip" => (a, _) => text.Trim(Optional(a), left: true, right: false),
        "rstrip" => (a, _) => text.Trim(Optional(a), left: false, right: true),
        "upper" => (_, _) => text.Map(t => t.ToUpperInvariant()),
        "lower" => (_, _) => text.Map(t => t.ToLowerInvariant()),
        "capitalize" => (_, _) => text.Map(Filters.Capitalize),
        "title" => (_, _) => text.Map(Filters.Title),
        "startswith" => (a, _) => Any(a[0], t => text.Value.StartsWith(t, StringComparison.Ordinal)),
        "endswith" => (a, _) => Any(a[0], t => text.Value.EndsWith(t, StringComparison.Ordinal)),
        "find" => (a, _) => (long)text.Value.IndexOf(Values.AsText(a[0]).Value, StringComparison.Ordinal),
        "count" => (a, _) => text.Split(Values.AsText(a[0]).Value, -1).Count() - 1L,
        "replace" => (a, _) => text.Replace(Values.AsText(a[0]).Value, Values.AsText(a[1]), a.Count > 2 ? Values.AsInteger(a[2]) : -1),
        "split" => (a, _) => text.Split(Separator(a), a.Count > 1 ? Values.AsInteger(a[1]) : -1).ToList<object?>(),
        "splitlines" => (_, _) => text.Value.EndsWith('\n')
            ? text.Slice(0, text.Length - 1).Split("\n", -1).ToList<object?>()
            : text.Length == 0 ? [] : text.Split("\n", -1).ToList<object?>(),
        "join" => (a, _) => MarkedText.Join(Values.Iterate(a[0]).Select(Values.AsText), text),
        "isdigit" => (_, _) => text.Length > 0 && text.Value.All(char.IsDigit),
        "isalpha" => (_, _) => text.Length > 0 && text.Value.All(char.IsLetter),
        _ => null,
    };

    private static Callable? OfDictionary(Dictionary<string, object?> items, string name) => name switch
    {
        "items" => (_, _) => items.Select(p => (object?)new List<object?> { MarkedText.Untrusted(p.Key), p.Value }).ToList(),
        "keys" => (_, _) => items.Keys.Select(k => (object?)MarkedText.Untrusted(k)).ToList(),
        "values" => (_, _) => items.Values.ToList(),
        "get" => (a, _) => items.TryGetValue(Values.AsText(a[0]).Value, out var found) ? found : a.Count > 1 ? a[1] : null,
        _ => null,
    };

    private static string? Optional(IReadOnlyList<object?> arguments) => arguments.Count == 0 || arguments[0] is null ? null : Values.AsText(arguments[0]).Value;

    private static string? Separator(IReadOnlyList<object?> arguments) =>
        Optional(arguments) is not "" and var text ? text : throw new TemplateValueException("an empty separator splits nothing");

    private static bool Any(object? value, Func<string, bool> test) => value is List<object?> items
        ? items.Any(i => test(Values.AsText(i).Value))
        : test(Values.AsText(value).Value);
}
