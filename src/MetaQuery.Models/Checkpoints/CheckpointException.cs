using System.Globalization;
using System.Text;

namespace MetaQuery.Models.Checkpoints;

/// <summary>A checkpoint or configuration file that cannot be used. The message is one line: file, tensor if any, reason.</summary>
public sealed class CheckpointException : Exception
{
    const int LongestQuotedName = 160;

    public CheckpointException(string message) : base(message) { }

    public CheckpointException(string message, Exception innerException) : base(message, innerException) { }

    /// <summary>Always false: reading the same bytes again gives the same failure.</summary>
    public bool IsTransient => false;

    internal static CheckpointException OfFile(string path, string reason, Exception? cause = null) => Create($"{OneLine(path)}: {reason}", cause);

    internal static CheckpointException OfTensor(string path, string tensor, string reason, Exception? cause = null) =>
        Create($"{OneLine(path)}: tensor {Quote(tensor)}: {reason}", cause);

    /// <summary>A name from a file in quotes: control characters escaped, long names cut, so that a message stays one line.</summary>
    internal static string Quote(string name) => $"\"{OneLine(name.Length <= LongestQuotedName ? name : string.Concat(name.AsSpan(0, LongestQuotedName), "…"))}\"";

    static CheckpointException Create(string message, Exception? cause) => cause is null ? new CheckpointException(message) : new CheckpointException(message, cause);

    static string OneLine(string text)
    {
        if (!text.AsSpan().ContainsAnyInRange('\0', '\u001f') && !text.AsSpan().ContainsAny('\u007f', '\u2028', '\u2029'))
            return text;
        var line = new StringBuilder(text.Length + 16);
        foreach (char c in text)
        {
            if (char.IsControl(c) || c is '\u2028' or '\u2029')
                line.Append(CultureInfo.InvariantCulture, $"\\u{(int)c:x4}");
            else
                line.Append(c);
        }
        return line.ToString();
    }
}
