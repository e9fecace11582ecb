using System.Globalization;
using System.Text;
using MetaQuery.Data;
using MetaQuery.Farm;

namespace MetaQuery.Orleans;

/// <summary>The number of heads that a data folder has had, in its file <c>head.epoch</c>: decimal digits. Who holds the folder's lock counts on, so that a later head's number is always greater.</summary>
internal static class HeadEpoch
{
    private const string FileName = "head.epoch";

    /// <exception cref="StorageException">It cannot be written.</exception>
    /// <exception cref="JournalDamagedException">The file does not hold a number.</exception>
    public static long Next(DataFolder held)
    {
        string path = Path.Combine(held.FullPath, FileName);
        long last = 0;
        if (File.Exists(path))
        {
            string text = File.ReadAllText(path).Trim();
            if (!long.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out last))
            {
                throw new JournalDamagedException($"{path} holds \"{text[..Math.Min(text.Length, 40)]}\", not a number: put a number there that is greater than any before, such as {TimeProvider.System.GetUtcNow().ToUnixTimeSeconds()}");
            }
        }

        AtomicFile.WriteAllBytes(path, Encoding.ASCII.GetBytes(string.Create(CultureInfo.InvariantCulture, $"{last + 1}\n")));
        return last + 1;
    }
}
