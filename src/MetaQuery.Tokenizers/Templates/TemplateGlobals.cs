namespace MetaQuery.Tokenizers.Templates;

/// <summary>Functions every template may call, and the loop variable.</summary>
internal static class TemplateGlobals
{
    private const int LongestRange = 100_000; // jinja2's sandbox has the same bound

    public static Scope Create()
    {
        var scope = new Scope(parent: null);
        scope.Set("raise_exception", (Callable)((arguments, _) =>
            throw new TemplateValueException(arguments.Count == 0 ? "the template refuses" : Values.ToText(arguments[0]).Value.ReplaceLineEndings(" "))));
        scope.Set("namespace", (Callable)((_, named) =>
        {
            var made = new NamespaceValue();
            foreach (var (name, value) in named)
            {
                made.Attributes[name] = value;
            }

            return made;
        }));
        scope.Set("dict", (Callable)((_, named) => new Dictionary<string, object?>(named)));
        scope.Set("range", (Callable)((arguments, _) => Range([.. arguments.Select(Values.AsInteger)])));
        return scope;
    }

    public static Dictionary<string, object?> Loop(IReadOnlyList<object?> values, int index) => new()
    {
        ["index"] = index + 1L,
        ["index0"] = (long)index,
        ["revindex"] = (long)values.Count - index,
        ["revindex0"] = values.Count - index - 1L,
        ["first"] = index == 0,
        ["last"] = index == values.Count - 1,
        ["length"] = (long)values.Count,
        ["depth"] = 1L,
        ["previtem"] = index > 0 ? values[index - 1] : new Undefined("loop.previtem"),
        ["nextitem"] = index + 1 < values.Count ? values[index + 1] : new Undefined("loop.nextitem"),
        ["cycle"] = (Callable)((arguments, _) => arguments[index % arguments.Count]),
    };

    private static List<object?> Range(long[] bounds)
    {
        var (from, to, step) = bounds switch
        {
            [var end] => (0L, end, 1L),
            [var start, var end] => (start, end, 1L),
            [var start, var end, not 0 and var stride] => (start, end, stride),
            _ => throw new TemplateValueException("range takes one to three integers, the third not 0"),
        };
        var items = new List<object?>();
        for (var value = from; step > 0 ? value < to : value > to; value += step)
        {
            if (items.Count >= LongestRange)
            {
                throw new TemplateValueException($"range is longer than {LongestRange}");
            }

            items.Add(value);
        }

        return items;
    }
}
