namespace MetaQuery.Pipelines.Prompting;

/// <summary>Ends a text before the first of some others that comes in it, however it is cut into pieces.</summary>
/// <param name="texts">None of them empty.</param>
public sealed class StopTexts(IReadOnlyList<string> texts)
{
    private string _held = ""; // may be the beginning of one of them

    /// <summary>Whether one of them has come: nothing is given out any more.</summary>
    public bool HasCome { get; private set; }

    /// <returns>What is certain not to belong to one of them.</returns>
    public string Add(string piece)
    {
        if (HasCome)
            return "";
        var text = _held + piece;
        if (texts.Select(stop => text.IndexOf(stop, StringComparison.Ordinal)).Where(index => index >= 0).DefaultIfEmpty(-1).Min() is >= 0 and var at)
        {
            (HasCome, _held) = (true, "");
            return text[..at];
        }

        var keep = texts.Count == 0 ? 0 : texts.Max(stop => BeginsAtEnd(text, stop));
        _held = text[^keep..];
        return text[..^keep];
    }

    /// <returns>What was held back, nothing following any more.</returns>
    public string Finish()
    {
        var text = _held;
        _held = "";
        return text;
    }

    private static int BeginsAtEnd(string text, string stop)
    {
        for (var length = Math.Min(stop.Length - 1, text.Length); length > 0; length--)
        {
            if (text.EndsWith(stop[..length], StringComparison.Ordinal))
                return length;
        }

        return 0;
    }
}
