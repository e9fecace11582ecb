namespace MetaQuery.Tokenizers.Templates;

/// <summary>What may follow <c>is</c>.</summary>
internal static class Tests
{
    private static readonly Dictionary<string, Func<object?, IReadOnlyList<object?>, bool>> All = new()
    {
        ["defined"] = (v, _) => v is not Undefined,
        ["undefined"] = (v, _) => v is Undefined,
        ["none"] = (v, _) => v is null,
        ["string"] = (v, _) => v is MarkedText,
        ["number"] = (v, _) => v is long or double or bool,
        ["integer"] = (v, _) => v is long,
        ["float"] = (v, _) => v is double,
        ["boolean"] = (v, _) => v is bool,
        ["true"] = (v, _) => v is true,
        ["false"] = (v, _) => v is false,
        ["mapping"] = (v, _) => v is Dictionary<string, object?>,
        ["iterable"] = (v, _) => v is List<object?> or Dictionary<string, object?> or MarkedText or Undefined,
        ["sequence"] = (v, _) => v is List<object?> or Dictionary<string, object?> or MarkedText or Undefined,
        ["callable"] = (v, _) => v is Callable,
        ["odd"] = (v, _) => Values.AsInteger(v) % 2 != 0,
        ["even"] = (v, _) => Values.AsInteger(v) % 2 == 0,
        ["divisibleby"] = (v, a) => Values.AsInteger(v) % Values.AsInteger(a[0]) == 0,
        ["lower"] = (v, _) => Values.AsText(v).Value is var t && t.Any(char.IsLower) && !t.Any(char.IsUpper),
        ["upper"] = (v, _) => Values.AsText(v).Value is var t && t.Any(char.IsUpper) && !t.Any(char.IsLower),
        ["in"] = (v, a) => Values.Contains(a[0], v),
        ["equalto"] = (v, a) => Values.AreEqual(v, a[0]),
        ["eq"] = (v, a) => Values.AreEqual(v, a[0]),
        ["sameas"] = (v, a) => ReferenceEquals(v, a[0]) || (v is null or bool && Equals(v, a[0])),
        ["ne"] = (v, a) => !Values.AreEqual(v, a[0]),
        ["lt"] = (v, a) => Values.Compare(v, a[0]) < 0,
        ["le"] = (v, a) => Values.Compare(v, a[0]) <= 0,
        ["gt"] = (v, a) => Values.Compare(v, a[0]) > 0,
        ["ge"] = (v, a) => Values.Compare(v, a[0]) >= 0,
    };

    private static readonly HashSet<string> WithArgument = ["divisibleby", "in", "equalto", "eq", "sameas", "ne", "lt", "le", "gt", "ge"];

    public static Func<object?, IReadOnlyList<object?>, bool>? Find(string name) => !All.TryGetValue(name, out var test)
        ? null
        : !WithArgument.Contains(name) ? test
        : (value, arguments) => arguments.Count == 1 ? test(value, arguments) : throw new TemplateValueException($"the test '{name}' takes one argument");
}
