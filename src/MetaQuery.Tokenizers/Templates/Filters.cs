using System.Globalization;
using System.Text;

namespace MetaQuery.Tokenizers.Templates;

/// <summary>What may follow <c>|</c>. The first argument is the value the filter is applied to.</summary>
internal static class Filters
{
    private static readonly Dictionary<string, Callable> All = new()
    {
        ["trim"] = (a, _) => Values.ToText(a[0]).Trim(a.Count > 1 ? Values.AsText(a[1]).Value : null, left: true, right: true),
        ["length"] = (a, _) => Count(a[0]),
        ["count"] = (a, _) => Count(a[0]),
        ["upper"] = (a, _) => Values.ToText(a[0]).Map(t => t.ToUpperInvariant()),
        ["lower"] = (a, _) => Values.ToText(a[0]).Map(t => t.ToLowerInvariant()),
        ["capitalize"] = (a, _) => Values.ToText(a[0]).Map(Capitalize),
        ["title"] = (a, _) => Values.ToText(a[0]).Map(Title),
        ["string"] = (a, _) => Values.ToText(a[0]),
        ["safe"] = (a, _) => a[0],
        ["int"] = (a, _) => ToInteger(a),
        ["float"] = (a, _) => a[0] is MarkedText t ? double.TryParse(t.Value, out var number) ? number : 0.0 : Values.Number(a[0]),
        ["abs"] = (a, _) => a[0] is double number ? Math.Abs(number) : (object)Math.Abs(Values.AsInteger(a[0])),
        ["round"] = (a, _) => Math.Round(Values.Number(a[0]), a.Count > 1 ? (int)Values.AsInteger(a[1]) : 0, MidpointRounding.ToEven),
        ["default"] = Default,
        ["d"] = Default,
        ["first"] = (a, _) => Values.Iterate(a[0]) is { Count: > 0 } items ? items[0] : new Undefined("the first of nothing"),
        ["last"] = (a, _) => Values.Iterate(a[0]) is { Count: > 0 } items ? items[^1] : new Undefined("the last of nothing"),
        ["list"] = (a, _) => Values.Iterate(a[0]).ToList(),
        ["reverse"] = (a, _) => Values.Iterate(a[0]).Reverse().ToList() is var items && a[0] is MarkedText ? MarkedText.Concat(items.Cast<MarkedText>()) : items,
        ["sort"] = (a, named) => Sorted(a[0], named),
        ["unique"] = (a, _) => Values.Iterate(a[0]).DistinctBy(Values.Repr).ToList(),
        ["sum"] = (a, _) => Values.Iterate(a[0]).Aggregate((object?)0L, (x, y) => Values.Arithmetic("+", x, y)),
        ["max"] = (a, _) => Values.Iterate(a[0]).Aggregate((x, y) => Values.Compare(x, y) >= 0 ? x : y),
        ["min"] = (a, _) => Values.Iterate(a[0]).Aggregate((x, y) => Values.Compare(x, y) <= 0 ? x : y),
        ["join"] = (a, named) => MarkedText.Join(
            Values.Iterate(a[0]).Select(i => Values.ToText(Named(named, "attribute") is { } path ? Path(i, path) : i)),
            a.Count > 1 ? Values.ToText(a[1]) : MarkedText.Trusted("")),
        ["replace"] = (a, _) => Values.ToText(a[0]).Replace(Values.AsText(a[1]).Value, Values.AsText(a[2]), a.Count > 3 ? Values.AsInteger(a[3]) : -1),
        ["items"] = (a, _) => a[0] is Undefined ? new List<object?>() : Methods.Find(a[0], "items") is { } items
            ? items([], new Dictionary<string, object?>())
            : throw new TemplateValueException($"{Values.TypeName(a[0])} has no items"),
        ["dictsort"] = (a, _) => Sorted(All!["items"]([a[0]], new Dictionary<string, object?>()), new Dictionary<string, object?> { ["attribute"] = 0L }),
        ["attr"] = (a, _) => Values.Attribute(a[0], Values.AsText(a[1]).Value),
        ["map"] = Map,
        ["select"] = (a, _) => Select(a, attribute: false, keep: true),
        ["reject"] = (a, _) => Select(a, attribute: false, keep: false),
        ["selectattr"] = (a, _) => Select(a, attribute: true, keep: true),
        ["rejectattr"] = (a, _) => Select(a, attribute: true, keep: false),
        ["indent"] = (a, named) => Indent(a, named),
        ["tojson"] = (a, named) => ToJson(a, named),
    };

    public static Callable? Find(string name) => All.GetValueOrDefault(name);

    public static string Capitalize(string text) => text.Length == 0 ? text : char.ToUpperInvariant(text[0]) + text[1..].ToLowerInvariant();

    public static string Title(string text)
    {
        var titled = new StringBuilder(text.Length);
        var isInWord = false;
        foreach (var letter in text)
        {
            titled.Append(isInWord ? char.ToLowerInvariant(letter) : char.ToUpperInvariant(letter));
            isInWord = char.IsLetter(letter);
        }

        return titled.ToString();
    }

    private static object Count(object? value) => value is MarkedText text ? (long)text.Length : Values.Iterate(value).Count;

    private static object? Named(IReadOnlyDictionary<string, object?> named, string name) => named.GetValueOrDefault(name);

    private static object? Default(IReadOnlyList<object?> arguments, IReadOnlyDictionary<string, object?> named)
    {
        var fallback = arguments.Count > 1 ? arguments[1] : Named(named, "default_value") ?? MarkedText.Trusted("");
        var alsoWhenFalse = Values.IsTrue(arguments.Count > 2 ? arguments[2] : Named(named, "boolean"));
        return arguments[0] is Undefined || (alsoWhenFalse && !Values.IsTrue(arguments[0])) ? fallback : arguments[0];
    }

    private static object ToInteger(IReadOnlyList<object?> arguments) => arguments[0] switch
    {
        MarkedText text => long.TryParse(text.Value.Trim(), out var number) ? number
            : double.TryParse(text.Value, out var real) ? (long)real
            : arguments.Count > 1 ? Values.AsInteger(arguments[1]) : 0L,
        double number => (long)number,
        var other => Values.AsInteger(other),
    };

    private static List<object?> Sorted(object? value, IReadOnlyDictionary<string, object?> named)
    {
        var path = Named(named, "attribute");
        var keyed = Values.Iterate(value).Select(i => (Item: i, Key: path is null ? i : Path(i, path)));
        var order = Comparer<object?>.Create((x, y) => x is MarkedText a && y is MarkedText b
            ? string.Compare(a.Value, b.Value, StringComparison.OrdinalIgnoreCase) // jinja2's sort ignores case by default
            : Values.Compare(x, y));
        var sorted = Values.IsTrue(Named(named, "reverse")) ? keyed.OrderByDescending(p => p.Key, order) : keyed.OrderBy(p => p.Key, order);
        return [.. sorted.Select(p => p.Item)];
    }

    private static object? Path(object? value, object? path) => path is long index
        ? Values.Item(value, index)
        : Values.AsText(path).Value.Split('.').Aggregate(value, (v, name) => long.TryParse(name, out var at) ? Values.Item(v, at) : Values.Item(v, MarkedText.Trusted(name)));

    private static object Map(IReadOnlyList<object?> arguments, IReadOnlyDictionary<string, object?> named)
    {
        var items = Values.Iterate(arguments[0]);
        if (Named(named, "attribute") is { } path)
        {
            var fallback = Named(named, "default");
            return items.Select(i => Path(i, path) is not Undefined and var found ? found : fallback ?? new Undefined("attribute")).ToList();
        }

        var name = Values.AsText(arguments[1]).Value;
        var filter = Find(name) ?? throw new TemplateValueException($"unknown filter '{name}'");
        return items.Select(i => filter([i, .. arguments.Skip(2)], named)).ToList();
    }

    private static object Select(IReadOnlyList<object?> arguments, bool attribute, bool keep)
    {
        var first = attribute ? 2 : 1;
        Func<object?, IReadOnlyList<object?>, bool> test = (value, _) => Values.IsTrue(value);
        if (arguments.Count > first)
        {
            var name = Values.AsText(arguments[first]).Value;
            test = Tests.Find(name is "==" ? "eq" : name) ?? throw new TemplateValueException($"unknown test '{name}'");
        }

        object?[] rest = [.. arguments.Skip(first + 1)];
        return Values.Iterate(arguments[0]).Where(i => test(attribute ? Path(i, arguments[1]) : i, rest) == keep).ToList();
    }

    private static object Indent(IReadOnlyList<object?> arguments, IReadOnlyDictionary<string, object?> named)
    {
        var width = arguments.Count > 1 ? arguments[1] : Named(named, "width") ?? 4L;
        var pad = width is MarkedText text ? text : MarkedText.Trusted(new string(' ', (int)Math.Clamp(Values.AsInteger(width), 0, 1000)));
        var lines = Values.ToText(arguments[0]).Split("\n", -1).ToList();
        var withFirst = Values.IsTrue(arguments.Count > 2 ? arguments[2] : Named(named, "first"));
        return MarkedText.Join(lines.Select((line, n) => line.Length > 0 && (n > 0 || withFirst) ? MarkedText.Concat(pad, line) : line), MarkedText.Trusted("\n"));
    }

    // Python's json.dumps(ensure_ascii=False), which transformers puts in the place of jinja2's own filter.
    private static object ToJson(IReadOnlyList<object?> arguments, IReadOnlyDictionary<string, object?> named)
    {
        var indent = arguments.Count > 1 ? arguments[1] : Named(named, "indent");
        var json = new StringBuilder();
        WriteJson(arguments[0], indent is null ? -1 : (int)Math.Clamp(Values.AsInteger(indent), 0, 100), 0, json);
        return MarkedText.Untrusted(json.ToString());
    }

    private static void WriteJson(object? value, int indent, int depth, StringBuilder output)
    {
        switch (value)
        {
            case null:
                output.Append("null");
                break;
            case bool flag:
                output.Append(flag ? "true" : "false");
                break;
            case long or double:
                output.Append(Values.Repr(value));
                break;
            case MarkedText text:
                WriteJson(text.Value, output);
                break;
            case List<object?> items:
                Write('[', ']', items.Count, index => WriteJson(items[index], indent, depth + 1, output));
                break;
            case Dictionary<string, object?> items:
                var pairs = items.ToList();
                Write('{', '}', pairs.Count, index =>
                {
                    WriteJson(pairs[index].Key, output);
                    output.Append(": ");
                    WriteJson(pairs[index].Value, indent, depth + 1, output);
                });
                break;
            default:
                throw new TemplateValueException($"{Values.TypeName(value)} has no JSON form");
        }

        void Write(char open, char close, int count, Action<int> item)
        {
            output.Append(open);
            for (var index = 0; index < count; index++)
            {
                output.Append(index == 0 ? "" : indent < 0 ? ", " : ",");
                NewLine(depth + 1);
                item(index);
            }

            if (count > 0)
            {
                NewLine(depth);
            }

            output.Append(close);
        }

        void NewLine(int level)
        {
            if (indent >= 0)
            {
                output.Append('\n').Append(' ', indent * level);
            }
        }
    }

    private static void WriteJson(string text, StringBuilder output)
    {
        output.Append('"');
        foreach (var letter in text)
        {
            output.Append(letter switch
            {
                '"' => "\\\"", '\\' => "\\\\", '\n' => "\\n", '\r' => "\\r", '\t' => "\\t", '\b' => "\\b", '\f' => "\\f",
                < ' ' => "\\u" + ((int)letter).ToString("x4", CultureInfo.InvariantCulture),
                _ => letter.ToString(),
            });
        }

        output.Append('"');
    }
}
