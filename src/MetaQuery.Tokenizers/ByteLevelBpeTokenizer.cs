using System.Buffers;
using System.Runtime.InteropServices;
using System.Text;
using MetaQuery.Tokenizers.Bpe;
using MetaQuery.Tokenizers.PreTokenizers;
using MetaQuery.Tokenizers.Unicode;

namespace MetaQuery.Tokenizers;

/// <summary>
/// Byte-level byte pair encoding (GPT-2's scheme, arXiv 1508.07909): text → added tokens cut out → normalised → words → UTF-8 bytes → merges.
/// Bytes whose letter the vocabulary lacks vanish, as in the reference when there is no unknown token.
/// </summary>
public sealed class ByteLevelBpeTokenizer : Tokenizer
{
    private readonly BpeModel model;
    private readonly Dictionary<string, AddedToken> addedTokens;
    private readonly Dictionary<int, AddedToken> addedById;
    private readonly AddedTokenMatcher rawMatcher;
    private readonly AddedTokenMatcher normalizedMatcher;

    internal ByteLevelBpeTokenizer(BpeModel model, IEnumerable<AddedToken> tokens)
    {
        this.model = model;
        addedTokens = tokens.ToDictionary(t => t.Content);
        addedById = addedTokens.Values.ToDictionary(t => t.Id);
        rawMatcher = new AddedTokenMatcher(addedTokens.Values.Where(t => !t.IsNormalized).Select(t => (t.Content, t)));
        normalizedMatcher = new AddedTokenMatcher(addedTokens.Values.Where(t => t.IsNormalized).Select(t => (Normalize(t.Content), t)));
        VocabularySize = model.Vocabulary.Count + addedTokens.Values.Count(t => !model.Vocabulary.ContainsKey(t.Content));
    }

    /// <inheritdoc/>
    public override int VocabularySize { get; }

    /// <inheritdoc/>
    public override IReadOnlyDictionary<string, AddedToken> AddedTokens => addedTokens;

    /// <summary>Reads a Hugging Face <c>tokenizer.json</c>, plain or gzipped (<c>.gz</c>).</summary>
    /// <exception cref="TokenizerException">The file is missing, malformed, or asks for something that is not byte-level BPE.</exception>
    public static ByteLevelBpeTokenizer FromTokenizerJson(string path) => TokenizerJson.Load(path);

    /// <summary>Builds the tokenizer of a GGUF file's vocabulary. Control tokens (type 3) become special added tokens, user-defined ones (type 4) plain added tokens.</summary>
    /// <exception cref="TokenizerException">The pre-tokenizer's name is not known, or merges and tokens do not agree.</exception>
    public static ByteLevelBpeTokenizer FromGguf(GgufVocabulary vocabulary) => GgufTokenizer.Build(vocabulary);

    /// <inheritdoc/>
    public override int? TokenToId(string token) =>
        addedTokens.TryGetValue(token, out var added) ? added.Id : model.Vocabulary.TryGetValue(token, out var id) ? id : null;

    /// <inheritdoc/>
    public override string? IdToToken(int id) => addedById.TryGetValue(id, out var added) ? added.Content : model.TokenOf(id);

    /// <inheritdoc/>
    public override Tokenizer WithAddedTokens(IEnumerable<AddedToken> tokens)
    {
        var all = new Dictionary<string, AddedToken>(addedTokens);
        var ids = new Dictionary<int, AddedToken>(addedById);
        foreach (var token in tokens)
        {
            var stored = token with { Id = TokenToId(token.Content) ?? token.Id };
            var holder = ids.TryGetValue(stored.Id, out var added) ? added.Content : model.TokenOf(stored.Id);
            if (holder is not null && !string.Equals(holder, stored.Content, StringComparison.Ordinal))
            {
                throw new TokenizerException($"added token '{token.Content}' asks for id {token.Id}, which '{holder}' holds");
            }

            all[stored.Content] = stored;
            ids[stored.Id] = stored;
        }

        return new ByteLevelBpeTokenizer(model, all.Values);
    }

    /// <inheritdoc/>
    public override IReadOnlyList<int> EncodeToIds(IReadOnlyList<TextSegment> segments)
    {
        var text = segments.Count == 1 ? segments[0].Text : string.Concat(segments.Select(s => s.Text));
        var isTrusted = TrustOf(segments, text.Length);
        var ids = new List<int>((text.Length / 4) + 4);
        var position = 0;
        foreach (var (start, end, id) in rawMatcher.IsEmpty ? [] : rawMatcher.Find(text, isTrusted))
        {
            EncodePlain(text, isTrusted, position, start, ids);
            ids.Add(id);
            position = end;
        }

        EncodePlain(text, isTrusted, position, text.Length, ids);
        return ids;
    }

    /// <inheritdoc/>
    public override string Decode(IEnumerable<int> ids, bool skipSpecialTokens = false)
    {
        var bytes = new ArrayBufferWriter<byte>();
        foreach (var id in ids)
        {
            if (addedById.TryGetValue(id, out var added))
            {
                if (!(skipSpecialTokens && added.IsSpecial))
                {
                    WriteBytes(added.Content, bytes);
                }
            }
            else if (model.TokenOf(id) is { } token)
            {
                WriteBytes(token, bytes);
            }
        }

        return Encoding.UTF8.GetString(bytes.WrittenSpan);
    }

    // A token with a letter outside the byte alphabet is an added one spelled as it is.
    private static void WriteBytes(string token, ArrayBufferWriter<byte> output)
    {
        var span = output.GetSpan(token.Length);
        for (var index = 0; index < token.Length; index++)
        {
            var value = ByteAlphabet.ToByte(token[index]);
            if (value < 0)
            {
                output.Write(Encoding.UTF8.GetBytes(token));
                return;
            }

            span[index] = (byte)value;
        }

        output.Advance(token.Length);
    }

    // Per letter; empty when all is trusted.
    private static bool[] TrustOf(IReadOnlyList<TextSegment> segments, int length)
    {
        if (segments.All(s => s.IsTrusted))
        {
            return [];
        }

        var trust = new bool[length];
        var position = 0;
        foreach (var segment in segments)
        {
            trust.AsSpan(position, segment.Text.Length).Fill(segment.IsTrusted);
            position += segment.Text.Length;
        }

        return trust;
    }

    // Text between the added tokens that are matched before normalisation.
    private void EncodePlain(string text, bool[] isTrusted, int start, int end, List<int> ids)
    {
        if (start == end)
        {
            return;
        }

        var part = start == 0 && end == text.Length ? text : text[start..end];
        if (normalizedMatcher.IsEmpty)
        {
            EncodeWords(Normalize(part), ids);
        }
        else if (isTrusted.Length == 0)
        {
            EncodeAround(Normalize(part), [], normalized: true, ids);
        }
        else
        {
            // Normalising moves letters, so with mixed trust the tokens are sought in the text as it stands.
            EncodeAround(part, isTrusted.AsSpan(start, end - start), normalized: false, ids);
        }
    }

    private void EncodeAround(string text, ReadOnlySpan<bool> isTrusted, bool normalized, List<int> ids)
    {
        var position = 0;
        foreach (var (start, end, id) in normalizedMatcher.Find(text, isTrusted))
        {
            EncodeBetween(position, start);
            ids.Add(id);
            position = end;
        }

        EncodeBetween(position, text.Length);

        void EncodeBetween(int from, int to)
        {
            if (from < to)
            {
                var between = text[from..to];
                EncodeWords(normalized ? between : Normalize(between), ids);
            }
        }
    }

    private string Normalize(string text) => model.NormalizeToFormC ? NormalizationFormC.Normalize(text) : text;

    private void EncodeWords(string text, List<int> ids)
    {
        if (model.AddPrefixSpace && text[0] != ' ')
        {
            text = " " + text;
        }

        var pieces = new List<(int Start, int Length)>((text.Length / 4) + 1);
        model.PreTokenizer.Split(text, 0, pieces);
        foreach (var (start, length) in CollectionsMarshal.AsSpan(pieces))
        {
            model.EncodeWord(text.AsSpan(start, length), ids);
        }
    }
}
