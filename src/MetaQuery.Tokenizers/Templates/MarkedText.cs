using System.Text;

namespace MetaQuery.Tokenizers.Templates;

/// <summary>A template's string: text that remembers which of its letters came from outside. Equality looks at the text alone.</summary>
internal sealed class MarkedText : IEquatable<MarkedText>
{
    private readonly TextSegment[] segments; // none empty

    private MarkedText(TextSegment[] segments)
    {
        this.segments = segments;
        Value = segments.Length == 1 ? segments[0].Text : string.Concat(segments.Select(s => s.Text));
    }

    public string Value { get; }

    public int Length => Value.Length;

    public static MarkedText Trusted(string text) => Of(text, isTrusted: true);

    public static MarkedText Untrusted(string text) => Of(text, isTrusted: false);

    public static MarkedText Of(string text, bool isTrusted) => new(text.Length == 0 ? [] : [new TextSegment(text, isTrusted)]);

    /// <summary>Joins; neighbours of equal trust become one segment.</summary>
    public static MarkedText Concat(params IEnumerable<MarkedText> parts)
    {
        var joined = new List<TextSegment>();
        var text = new StringBuilder();
        var isTrusted = true;
        foreach (var segment in parts.SelectMany(p => p.segments))
        {
            if (segment.IsTrusted != isTrusted && text.Length > 0)
            {
                joined.Add(new TextSegment(text.ToString(), isTrusted));
                text.Clear();
            }

            isTrusted = segment.IsTrusted;
            text.Append(segment.Text);
        }

        if (text.Length > 0)
        {
            joined.Add(new TextSegment(text.ToString(), isTrusted));
        }

        return new MarkedText([.. joined]);
    }

    public IReadOnlyList<TextSegment> ToSegments() => segments;

    public MarkedText Slice(int start, int length)
    {
        var parts = new List<TextSegment>();
        var position = 0;
        foreach (var segment in segments)
        {
            var from = Math.Max(start, position) - position;
            var to = Math.Min(start + length, position + segment.Text.Length) - position;
            if (from < to)
            {
                parts.Add(segment with { Text = segment.Text[from..to] });
            }

            position += segment.Text.Length;
        }

        return new MarkedText([.. parts]);
    }

    /// <summary>The result of a change that moves letters: trusted only if all of it was.</summary>
    public MarkedText Map(Func<string, string> change) => Of(change(Value), segments.All(s => s.IsTrusted));

    public MarkedText Trim(string? characters, bool left, bool right)
    {
        var (start, end) = (0, Value.Length);
        while (left && start < end && IsTrimmed(Value[start]))
        {
            start++;
        }

        while (right && end > start && IsTrimmed(Value[end - 1]))
        {
            end--;
        }

        return Slice(start, end - start);

        bool IsTrimmed(char letter) => characters?.Contains(letter) ?? char.IsWhiteSpace(letter);
    }

    public IEnumerable<MarkedText> Split(string? separator, long maximum)
    {
        if (separator is null)
        {
            foreach (var part in SplitWhiteSpace(maximum))
            {
                yield return part;
            }

            yield break;
        }

        var position = 0;
        while (maximum != 0 && Value.IndexOf(separator, position, StringComparison.Ordinal) is >= 0 and var found)
        {
            yield return Slice(position, found - position);
            position = found + separator.Length;
            maximum--;
        }

        yield return Slice(position, Length - position);
    }

    public MarkedText Replace(string old, MarkedText replacement, long maximum) => old.Length == 0
        ? throw new TemplateValueException("replace of an empty string is not supported")
        : Join(Split(old, maximum), replacement);

    public static MarkedText Join(IEnumerable<MarkedText> parts, MarkedText separator) =>
        Concat(parts.SelectMany((part, index) => index == 0 ? new[] { part } : [separator, part]));

    public bool Equals(MarkedText? other) => other is not null && string.Equals(Value, other.Value, StringComparison.Ordinal);

    public override bool Equals(object? obj) => Equals(obj as MarkedText);

    public override int GetHashCode() => Value.GetHashCode(StringComparison.Ordinal);

    public override string ToString() => Value;

    private IEnumerable<MarkedText> SplitWhiteSpace(long maximum)
    {
        var rest = Trim(null, left: true, right: false);
        while (rest.Length > 0)
        {
            var end = 0;
            while (end < rest.Length && !char.IsWhiteSpace(rest.Value[end]))
            {
                end++;
            }

            if (maximum-- == 0)
            {
                end = rest.Length;
            }

            yield return rest.Slice(0, end);
            rest = rest.Slice(end, rest.Length - end).Trim(null, left: true, right: false);
        }
    }
}
