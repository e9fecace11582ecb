using System.Collections;
using System.Globalization;
using System.Text;

namespace MetaQuery.Tokenizers.Templates;

/// <summary>Python's rules for the values a template meets: null, bool, long, double, <see cref="MarkedText"/>, lists, dictionaries by text.</summary>
internal static class Values
{
    public static bool IsTrue(object? value) => value switch
    {
        null or Undefined => false,
        bool flag => flag,
        long number => number != 0,
        double number => number != 0,
        MarkedText text => text.Length > 0,
        ICollection items => items.Count > 0,
        _ => true,
    };

    public static MarkedText ToText(object? value) => value switch
    {
        MarkedText text => text,
        Undefined => MarkedText.Trusted(""),
        _ => MarkedText.Of(Repr(value), IsTrusted(value)),
    };

    /// <summary>Python's <c>repr</c>.</summary>
    public static string Repr(object? value) => value switch
    {
        null => "None",
        Undefined => "",
        bool flag => flag ? "True" : "False",
        long number => number.ToString(CultureInfo.InvariantCulture),
        double number => Float(number),
        MarkedText text => Quote(text.Value),
        List<object?> items => $"[{string.Join(", ", items.Select(Repr))}]",
        Dictionary<string, object?> items => $"{{{string.Join(", ", items.Select(p => $"{Quote(p.Key)}: {Repr(p.Value)}"))}}}",
        _ => $"<{TypeName(value)}>",
    };

    public static string TypeName(object? value) => value switch
    {
        null => "none",
        Undefined => "undefined",
        bool => "bool",
        long => "int",
        double => "float",
        MarkedText => "string",
        List<object?> => "list",
        Dictionary<string, object?> => "dict",
        NamespaceValue => "namespace",
        Callable => "function",
        _ => value.GetType().Name,
    };

    public static bool AreEqual(object? left, object? right) => (left, right) switch
    {
        (Undefined, Undefined) => true,
        (bool or long or double, bool or long or double) => Number(left).Equals(Number(right)),
        (List<object?> a, List<object?> b) => a.Count == b.Count && a.Zip(b).All(p => AreEqual(p.First, p.Second)),
        (Dictionary<string, object?> a, Dictionary<string, object?> b) =>
            a.Count == b.Count && a.All(p => b.TryGetValue(p.Key, out var other) && AreEqual(p.Value, other)),
        _ => Equals(left, right),
    };

    public static int Compare(object? left, object? right) => (left, right) switch
    {
        (bool or long or double, bool or long or double) => Number(left).CompareTo(Number(right)),
        (MarkedText a, MarkedText b) => string.CompareOrdinal(a.Value, b.Value),
        _ => throw new TemplateValueException($"{TypeName(left)} and {TypeName(right)} cannot be ordered"),
    };

    public static bool Contains(object? container, object? item) => container switch
    {
        MarkedText text => text.Value.Contains(AsText(item).Value, StringComparison.Ordinal),
        Dictionary<string, object?> items => item is MarkedText key && items.ContainsKey(key.Value),
        Undefined => false,
        _ => Iterate(container).Any(i => AreEqual(i, item)),
    };

    public static IReadOnlyList<object?> Iterate(object? value) => value switch
    {
        List<object?> items => items,
        Dictionary<string, object?> items => [.. items.Keys.Select(MarkedText.Untrusted)],
        MarkedText text => [.. Enumerable.Range(0, text.Length).Select(i => text.Slice(i, 1))],
        Undefined => [],
        _ => throw new TemplateValueException($"{TypeName(value)} cannot be iterated over"),
    };

    public static object? Item(object? value, object? key)
    {
        switch (value, key)
        {
            case (Dictionary<string, object?> items, MarkedText name):
                return items.TryGetValue(name.Value, out var found) ? found : new Undefined(name.Value);
            case (List<object?> items, long index):
                return Index(index, items.Count) is >= 0 and var at ? items[at] : new Undefined($"element {index}");
            case (MarkedText text, long index):
                return Index(index, text.Length) is >= 0 and var place ? text.Slice(place, 1) : new Undefined($"element {index}");
            case (Undefined missing, _):
                throw new TemplateValueException($"'{missing.Name}' is undefined");
            default:
                return key is MarkedText attribute ? Attribute(value, attribute.Value) : new Undefined(Repr(key));
        }
    }

    public static object? Attribute(object? value, string name) => value switch
    {
        Undefined missing => throw new TemplateValueException($"'{missing.Name}' is undefined, so it has no '{name}'"),
        NamespaceValue space => space.Attributes.TryGetValue(name, out var found) ? found : new Undefined(name),
        _ => Methods.Find(value, name) ?? (value is Dictionary<string, object?> items && items.TryGetValue(name, out var item) ? item : new Undefined(name)),
    };

    public static object? Slice(object? value, object? from, object? to, object? step)
    {
        var stride = step is null ? 1 : AsInteger(step);
        var count = value is MarkedText text ? text.Length : Iterate(value).Count;
        if (stride == 0)
        {
            throw new TemplateValueException("a slice's step cannot be 0");
        }

        var start = Bound(from, stride > 0 ? 0 : count - 1, count, stride);
        var end = Bound(to, stride > 0 ? count : -1, count, stride);
        if (value is MarkedText letters && stride == 1)
        {
            return letters.Slice((int)start, (int)Math.Max(0, end - start));
        }

        var items = Iterate(value);
        var kept = new List<object?>();
        for (var index = start; stride > 0 ? index < end : index > end; index += stride)
        {
            kept.Add(items[(int)index]);
        }

        return value is MarkedText ? MarkedText.Concat(kept.Cast<MarkedText>()) : kept;
    }

    public static object? Arithmetic(string sign, object? left, object? right) => (sign, left, right) switch
    {
        ("+", MarkedText a, MarkedText b) => MarkedText.Concat(a, b),
        ("+", List<object?> a, List<object?> b) => new List<object?>([.. a, .. b]),
        ("*", MarkedText a, long n) => MarkedText.Concat(Enumerable.Repeat(a, Repetitions(n))),
        ("*", List<object?> a, long n) => Enumerable.Repeat(a, Repetitions(n)).SelectMany(l => l).ToList(),
        ("%" or "//", _, long and 0) => throw new TemplateValueException("division by zero"),
        (_, long or bool, long or bool) when sign is not "/" and not "**" => Integers(sign, AsInteger(left), AsInteger(right)),
        ("**", long a, long and >= 0 and var b) => (object)(long)Math.Pow(a, b),
        (_, long or bool or double, long or bool or double) => Floats(sign, Number(left), Number(right)),
        _ => throw new TemplateValueException($"'{sign}' is not defined between {Describe(left)} and {Describe(right)}"),
    };

    public static MarkedText AsText(object? value) => value as MarkedText ?? throw new TemplateValueException($"a string is needed, {Describe(value)} was given");

    public static long AsInteger(object? value) => value switch
    {
        long number => number,
        bool flag => flag ? 1 : 0,
        _ => throw new TemplateValueException($"an integer is needed, {Describe(value)} was given"),
    };

    public static double Number(object? value) => value is double number ? number : AsInteger(value);

    private static string Describe(object? value) => value is Undefined missing ? $"'{missing.Name}', which is undefined," : TypeName(value);

    private static bool IsTrusted(object? value) => value is null or bool or long or double;

    // Enough for any prompt; a malicious template must not fill the memory.
    private static int Repetitions(long count) => count <= 100_000 ? (int)Math.Max(0, count) : throw new TemplateValueException($"repeating {count} times is more than the 100000 allowed");

    private static object Integers(string sign, long left, long right) => sign switch
    {
        "+" => left + right,
        "-" => left - right,
        "*" => left * right,
        "%" => left - ((long)Math.Floor((double)left / right) * right),
        _ => (long)Math.Floor((double)left / right),
    };

    private static object Floats(string sign, double left, double right) => sign switch
    {
        "+" => left + right,
        "-" => left - right,
        "*" => left * right,
        "**" => Math.Pow(left, right),
        _ when right == 0 => throw new TemplateValueException("division by zero"),
        "/" => left / right,
        "%" => left - (Math.Floor(left / right) * right),
        _ => Math.Floor(left / right),
    };

    private static int Index(long index, int count)
    {
        index = index < 0 ? index + count : index;
        return index >= 0 && index < count ? (int)index : -1;
    }

    private static long Bound(object? value, long whenMissing, int count, long stride)
    {
        if (value is null)
        {
            return whenMissing;
        }

        var index = AsInteger(value);
        return Math.Clamp(index < 0 ? index + count : index, stride > 0 ? 0 : -1, stride > 0 ? count : count - 1);
    }

    private static string Float(double value)
    {
        var text = value.ToString("R", CultureInfo.InvariantCulture);
        return text.All(c => char.IsAsciiDigit(c) || c == '-') ? text + ".0" : text;
    }

    private static string Quote(string text)
    {
        var quote = text.Contains('\'') && !text.Contains('"') ? '"' : '\'';
        var quoted = new StringBuilder().Append(quote);
        foreach (var letter in text)
        {
            quoted.Append(letter switch
            {
                '\n' => "\\n", '\r' => "\\r", '\t' => "\\t", '\\' => "\\\\",
                _ when letter == quote => "\\" + letter,
                _ => letter.ToString(),
            });
        }

        return quoted.Append(quote).ToString();
    }
}
