using MetaQuery.Tokenizers;

namespace MetaQuery.Pipelines.Prompting;

/// <summary>A caption's prompt: system prompt, one user turn, assistant header, then a newline; the new tokens follow
/// (facebookresearch/metaquery, MLLMInContext.tokenize).</summary>
/// <remarks>
/// Special tokens inside a caption are read letter by letter, and so are the names of the new tokens. A caption without any gives the
/// reference's ids. Instances are immutable and safe to share between threads.
/// </remarks>
public sealed class MetaQueryPrompt
{
    /// <summary>What the reference writes between the assistant header and the first new token.</summary>
    private const string BeforeNewTokens = "\n";

    private readonly Tokenizer _tokenizer;
    private readonly ChatTurns _turns;
    private readonly string? _systemPrompt;
    private readonly int _maxInputTextTokens;
    private readonly bool _hasNewTokens;

    /// <param name="tokenizer">The MLLM's own tokenizer; it need not know the new tokens.</param>
    /// <param name="systemPrompt">Null for no system turn.</param>
    /// <param name="maxInputTextTokens">Captions are cut to so many tokens.</param>
    /// <param name="hasNewTokens">Whether new tokens follow; without them the prompt ends with the assistant header.</param>
    /// <exception cref="ChatTemplateException">The template cannot be applied to a system and a user turn.</exception>
    public MetaQueryPrompt(Tokenizer tokenizer, ChatTemplate template, string? systemPrompt, int maxInputTextTokens, bool hasNewTokens = true)
    {
        ArgumentNullException.ThrowIfNull(tokenizer);
        ArgumentNullException.ThrowIfNull(template);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(maxInputTextTokens);
        (_tokenizer, _turns, _systemPrompt, _maxInputTextTokens, _hasNewTokens) = (tokenizer, new ChatTurns(template), systemPrompt, maxInputTextTokens, hasNewTokens);
        // What follows the header decides into which token its last newline goes: the shared part ends where these captions part.
        var probes = new[] { "", "a", "\n", " \n", " x", "1", "…" }.Select(probe => Encode(probe)).ToList();
        SharedPrefix = [.. probes[0].Take(probes.Min(probe => probe.Zip(probes[0]).TakeWhile(pair => pair.First == pair.Second).Count()))];
    }

    /// <summary>The ids with which the prompts of (nearly) all captions begin: the system prompt and the user turn's header.</summary>
    public IReadOnlyList<long> SharedPrefix { get; }

    /// <summary>The ids of everything before the new tokens.</summary>
    public long[] Encode(string caption) => Encode(caption, images: 0);

    /// <inheritdoc cref="Encode(string)"/>
    /// <param name="images">How many pictures stand before the caption; each is one token here.</param>
    public long[] Encode(string caption, int images)
    {
        ArgumentNullException.ThrowIfNull(caption);
        return [.. _tokenizer.EncodeToIds(Segments(caption, images)).Select(id => (long)id)];
    }

    /// <summary>The prompt's text up to the new tokens; the caption's part is not trusted.</summary>
    /// <param name="images">How many pictures stand before the caption.</param>
    /// <exception cref="PipelineException">The chat template has no place for pictures.</exception>
    public IReadOnlyList<TextSegment> Segments(string caption, int images = 0)
    {
        var ids = _tokenizer.EncodeUserTextToIds(caption);
        // Encoding and decoding is no identity (normalisation, a cut inside a character), and the reference does it even when nothing is cut.
        var text = _tokenizer.Decode(ids.Count <= _maxInputTextTokens ? ids : ids.Take(_maxInputTextTokens));
        var user = _turns.Turn("user", text, isTrusted: false, images);
        var segments = _turns.Template.RenderSegments(
            _systemPrompt is null ? [user] : [_turns.Turn("system", _systemPrompt, isTrusted: true), user], addGenerationPrompt: true);
        return _hasNewTokens ? [.. segments, TextSegment.Trusted(BeforeNewTokens)] : [.. segments];
    }
}
