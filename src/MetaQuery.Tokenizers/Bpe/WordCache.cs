namespace MetaQuery.Tokenizers.Bpe;

/// <summary>Ids of words seen lately. Bounded: a fixed number of slots, each overwritten by the next word that falls into it. Lock-free, since entries are immutable and references are written whole.</summary>
internal sealed class WordCache
{
    public const int MaximumWordChars = 64;
    private const int Slots = 1 << 15;
    private readonly Entry?[] entries = new Entry?[Slots];

    public bool TryGet(ReadOnlySpan<char> word, out int hash, out int[] ids)
    {
        hash = string.GetHashCode(word, StringComparison.Ordinal);
        var entry = Volatile.Read(ref entries[hash & (Slots - 1)]);
        if (entry is not null && entry.Hash == hash && word.SequenceEqual(entry.Word))
        {
            ids = entry.Ids;
            return true;
        }

        ids = [];
        return false;
    }

    public void Set(ReadOnlySpan<char> word, int hash, ReadOnlySpan<int> ids) =>
        Volatile.Write(ref entries[hash & (Slots - 1)], new Entry(word.ToString(), hash, ids.ToArray()));

    private sealed record Entry(string Word, int Hash, int[] Ids);
}
