using System.Buffers;
using System.Text;
using MetaQuery.Tokenizers.PreTokenizers;

namespace MetaQuery.Tokenizers.Bpe;

/// <summary>Vocabulary, merges and the rules in front of them.</summary>
internal sealed class BpeModel
{
    private readonly string?[] tokens;
    private readonly int[] idOfByte = new int[256];
    private readonly BytePairMerger merger;
    private readonly WordCache cache = new();
    private readonly bool ignoreMerges;

    /// <summary>Checks and indexes the vocabulary and its merges.</summary>
    /// <exception cref="TokenizerException">A merge names a token that the vocabulary lacks, or an id is out of range.</exception>
    public BpeModel(
        string source, Dictionary<string, int> vocabulary, IReadOnlyList<(string Left, string Right)> merges, PreTokenizer preTokenizer, bool ignoreMerges = false)
    {
        Vocabulary = vocabulary;
        PreTokenizer = preTokenizer;
        this.ignoreMerges = ignoreMerges;
        var largest = vocabulary.Count == 0 ? -1 : vocabulary.Values.Max();
        // Ids index an array; a stray huge id in a malformed file must not ask for gigabytes.
        if (vocabulary.Any(v => v.Value < 0) || largest > (vocabulary.Count * 4L) + 1_000_000)
        {
            throw new TokenizerException($"{source}: vocabulary ids must lie between 0 and about the vocabulary's size {vocabulary.Count}, found {vocabulary.Values.Min()} and {largest}");
        }

        tokens = new string?[largest + 1];
        foreach (var (token, id) in vocabulary)
        {
            tokens[id] = token;
        }

        for (var value = 0; value < 256; value++)
        {
            idOfByte[value] = vocabulary.GetValueOrDefault(ByteAlphabet.LetterOfByte[value].ToString(), -1);
        }

        merger = new BytePairMerger(MakeTable(source, vocabulary, merges));
    }

    public Dictionary<string, int> Vocabulary { get; }

    public PreTokenizer PreTokenizer { get; }

    public bool NormalizeToFormC { get; init; }

    /// <summary>A space is put before text that does not begin with one.</summary>
    public bool AddPrefixSpace { get; init; }

    public string? TokenOf(int id) => (uint)id < (uint)tokens.Length ? tokens[id] : null;

    public void EncodeWord(ReadOnlySpan<char> word, List<int> ids)
    {
        var isCached = word.Length <= WordCache.MaximumWordChars;
        var hash = 0;
        if (isCached && cache.TryGet(word, out hash, out var known))
        {
            ids.AddRange(known);
            return;
        }

        var capacity = word.Length * 3; // UTF-8 bytes of a UTF-16 unit
        byte[]? rentedBytes = null;
        int[]? rentedSymbols = null;
        var bytes = capacity <= 256 ? stackalloc byte[256] : rentedBytes = ArrayPool<byte>.Shared.Rent(capacity);
        var symbols = capacity <= 256 ? stackalloc int[256] : rentedSymbols = ArrayPool<int>.Shared.Rent(capacity);
        var byteCount = Encoding.UTF8.GetBytes(word, bytes);
        var count = 0;
        foreach (var value in bytes[..byteCount])
        {
            symbols[count] = idOfByte[value];
            count += idOfByte[value] >= 0 ? 1 : 0;
        }

        if (ignoreMerges && WholeWord(bytes[..byteCount]) is { } whole)
        {
            (symbols[0], count) = (whole, 1);
        }
        else
        {
            count = merger.Merge(symbols[..count]);
        }

        ids.AddRange(symbols[..count]);
        if (isCached)
        {
            cache.Set(word, hash, symbols[..count]);
        }

        if (rentedBytes is not null)
        {
            ArrayPool<byte>.Shared.Return(rentedBytes);
            ArrayPool<int>.Shared.Return(rentedSymbols!);
        }
    }

    private int? WholeWord(ReadOnlySpan<byte> bytes)
    {
        Span<char> letters = bytes.Length <= 256 ? stackalloc char[bytes.Length] : new char[bytes.Length];
        for (var index = 0; index < bytes.Length; index++)
        {
            letters[index] = ByteAlphabet.LetterOfByte[bytes[index]];
        }

        return Vocabulary.GetAlternateLookup<ReadOnlySpan<char>>().TryGetValue(letters, out var id) ? id : null;
    }

    private static MergeTable MakeTable(string source, Dictionary<string, int> vocabulary, IReadOnlyList<(string Left, string Right)> merges)
    {
        var table = new MergeTable(merges.Count);
        for (var rank = 0; rank < merges.Count; rank++)
        {
            var (left, right) = merges[rank];
            table.Set(Id(left), Id(right), rank, Id(left + right));

            int Id(string token) => vocabulary.TryGetValue(token, out var id)
                ? id
                : throw new TokenizerException($"{source}: merge {rank} ('{left}' + '{right}') needs token '{token}', which the vocabulary lacks");
        }

        return table;
    }
}
