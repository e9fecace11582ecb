using System.Globalization;
using System.Text;
using MetaQuery.Data;
using MetaQuery.Farm;

namespace MetaQuery.Orleans;

/// <summary>The number of heads that a data folder has had, in its file <c>head.epoch</c>. Who holds the folder's lock counts on, so that a later head's number is always greater.</summary>
/// <remarks>
/// Two lines of fixed width, each a number of 20 digits, twice: the greater of the lines whose halves agree counts. The next number is written over the other line, in
/// place, so that a head starts on a full disk and a write that was cut off leaves the number before. A file of a single number, as the first version wrote it, is read too.
/// </remarks>
internal static class HeadEpoch
{
    private const string FileName = "head.epoch";
    private const int Digits = 20;
    private const int LineBytes = (2 * Digits) + 2;

    /// <exception cref="StorageException">It cannot be written.</exception>
    /// <exception cref="JournalDamagedException">The file does not hold a number.</exception>
    public static long Next(DataFolder held)
    {
        string path = Path.Combine(held.FullPath, FileName);
        if (!File.Exists(path))
        {
            return Create(path, last: 0);
        }

        string text = File.ReadAllText(path);
        if (text.Length != 2 * LineBytes)
        {
            return Create(path, Parse(text.Trim()) ?? throw Damaged(path, text));
        }

        long? first = ParseLine(text[..LineBytes]), second = ParseLine(text[LineBytes..]);
        if (first is null && second is null)
        {
            throw Damaged(path, text);
        }

        long next = Math.Max(first ?? 0, second ?? 0) + 1;
        Overwrite(path, first is null || first < second ? 0 : LineBytes, next);
        return next;
    }

    private static long Create(string path, long last)
    {
        AtomicFile.WriteAllBytes(path, Encoding.ASCII.GetBytes(Line(last) + Line(last + 1)));
        return last + 1;
    }

    private static void Overwrite(string path, int at, long number)
    {
        try
        {
            using var file = new FileStream(path, FileMode.Open, FileAccess.Write, FileShare.Read, bufferSize: 0);
            file.Position = at;
            file.Write(Encoding.ASCII.GetBytes(Line(number)));
            file.Flush(flushToDisk: true);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw StorageException.From(exception, path);
        }
    }

    private static string Line(long number) => string.Create(CultureInfo.InvariantCulture, $"{number:D20} {number:D20}\n");

    private static long? ParseLine(string line) => line[Digits] == ' ' && line[^1] == '\n' && line[..Digits] == line[(Digits + 1)..^1] ? Parse(line[..Digits]) : null;

    private static long? Parse(string digits) => long.TryParse(digits, NumberStyles.None, CultureInfo.InvariantCulture, out long number) ? number : null;

    private static JournalDamagedException Damaged(string path, string text) => new(
        $"{path} holds \"{text[..Math.Min(text.Length, 40)].ReplaceLineEndings(" ")}\", not a number: put a number there that is greater than any before, such as {TimeProvider.System.GetUtcNow().ToUnixTimeSeconds()}");
}
