namespace MetaQuery.Tokenizers;

/// <summary>Text to token ids and back. The names follow <c>Microsoft.ML.Tokenizers.Tokenizer</c>. Instances are immutable and safe to share between threads.</summary>
public abstract class Tokenizer
{
    /// <summary>Number of tokens, added ones included (<c>len(tokenizer)</c> in transformers). Ids run from 0 to this number less one unless the vocabulary has holes.</summary>
    public abstract int VocabularySize { get; }

    /// <summary>Tokens beside the merges' vocabulary (control tokens and words matched whole), by their text.</summary>
    public abstract IReadOnlyDictionary<string, AddedToken> AddedTokens { get; }

    /// <summary>The id of one token: an added token by its text, any other by its text in byte letters; null when there is none.</summary>
    public abstract int? TokenToId(string token);

    /// <summary>The token of an id as the vocabulary spells it (byte letters), or null when there is none.</summary>
    public abstract string? IdToToken(int id);

    /// <summary>The ids of a text that is trusted as a whole: added tokens in it are honoured, as the reference does. Never for text a user wrote: see <see cref="EncodeUserTextToIds"/>.</summary>
    public IReadOnlyList<int> EncodeToIds(string text) => EncodeToIds([TextSegment.Trusted(text)]);

    /// <summary>The ids of text from outside: no added token is matched in it, so <c>&lt;|im_end|&gt;</c> is read letter by letter.</summary>
    public IReadOnlyList<int> EncodeUserTextToIds(string text) => EncodeToIds([TextSegment.Untrusted(text)]);

    /// <summary>
    /// The ids of a prompt of trusted and untrusted pieces. Added tokens are matched only where every letter is trusted; all else is encoded
    /// as one string, across the pieces' borders. So the ids are those of the joined text whenever the untrusted pieces hold no added token.
    /// </summary>
    public abstract IReadOnlyList<int> EncodeToIds(IReadOnlyList<TextSegment> segments);

    /// <summary>Number of ids <see cref="EncodeToIds(string)"/> would give.</summary>
    public int CountTokens(string text) => EncodeToIds(text).Count;

    /// <summary>The text of ids. Bytes that are no UTF-8 become U+FFFD, ids outside the vocabulary nothing.</summary>
    /// <param name="ids">Token ids.</param>
    /// <param name="skipSpecialTokens">Leaves out added tokens marked special (not those that are merely matched whole).</param>
    public abstract string Decode(IEnumerable<int> ids, bool skipSpecialTokens = false);

    /// <summary>The same tokenizer with more added tokens, as when a token table is grown. A token that exists already keeps its id; any other needs the id it states.</summary>
    /// <exception cref="TokenizerException">An id is taken by another token.</exception>
    public abstract Tokenizer WithAddedTokens(IEnumerable<AddedToken> tokens);
}

/// <summary>A piece of a prompt, and whether it may carry control tokens (a template's own text) or not (a user's words).</summary>
public readonly record struct TextSegment(string Text, bool IsTrusted)
{
    public static TextSegment Trusted(string text) => new(text, IsTrusted: true);

    public static TextSegment Untrusted(string text) => new(text, IsTrusted: false);
}

/// <summary>A token matched whole in text before any other rule. The flags are those of Hugging Face tokenizers.</summary>
/// <param name="Id">Token id.</param>
/// <param name="Content">The text that is matched.</param>
/// <param name="IsSpecial">Left out by <c>skipSpecialTokens</c>.</param>
/// <param name="IsNormalized">Matched in the normalised text instead of the text as given.</param>
/// <param name="StripLeft">Swallows white space before it.</param>
/// <param name="StripRight">Swallows white space after it.</param>
/// <param name="IsSingleWord">Matched only where no word character touches it.</param>
public sealed record AddedToken(
    int Id, string Content, bool IsSpecial = true, bool IsNormalized = false, bool StripLeft = false, bool StripRight = false, bool IsSingleWord = false);

/// <summary>A tokenizer file that cannot be used: one line saying what, where and what would be right.</summary>
public sealed class TokenizerException(string message, Exception? inner = null) : Exception(message, inner)
{
    /// <summary>Always false: the same file fails again.</summary>
    public bool IsTransient => false;
}

/// <summary>The vocabulary a GGUF file holds under <c>tokenizer.ggml.*</c>, as plain data.</summary>
/// <param name="Tokens"><c>tokenizer.ggml.tokens</c>: token texts in byte letters; the index is the id.</param>
/// <param name="Merges"><c>tokenizer.ggml.merges</c>: "left right", best first.</param>
/// <param name="TokenTypes"><c>tokenizer.ggml.token_type</c>: 1 normal, 2 unknown, 3 control, 4 user defined, 5 unused, 6 byte. Empty: all normal.</param>
/// <param name="PreTokenizer"><c>tokenizer.ggml.pre</c>, for instance <c>smollm</c>.</param>
public sealed record GgufVocabulary(IReadOnlyList<string> Tokens, IReadOnlyList<string> Merges, IReadOnlyList<int> TokenTypes, string PreTokenizer);
