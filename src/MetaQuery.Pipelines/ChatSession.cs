using MetaQuery.Models.Mllm;
using MetaQuery.Pipelines.Prompting;
using MetaQuery.Tokenizers;
using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Pipelines;

/// <summary>How an answer's tokens are chosen.</summary>
/// <param name="Temperature">0: always the most likely token. Otherwise logits are divided by it and a token is drawn.</param>
/// <param name="TopP">A token is drawn among the most likely ones that together reach this probability.</param>
/// <param name="Seed">Of the drawing; the same seed, the same answer.</param>
/// <param name="MaxNewTokens">An answer is cut here.</param>
/// <param name="SystemPrompt">Null: what the checkpoint's template puts there by itself.</param>
public sealed record ChatOptions(double Temperature = 0, double TopP = 1, int Seed = 0, int MaxNewTokens = 512, string? SystemPrompt = null);

/// <summary>A conversation with the frozen LLM, over its base token table: what image generation added has no part in it.</summary>
/// <remarks>Keys and values of earlier turns are kept. Not thread-safe; several sessions may share a decoder.</remarks>
public sealed class ChatSession : IDisposable
{
    // Ends of a turn that a checkpoint's config may not list.
    private static readonly string[] EndTokens = ["<|im_end|>", "<|endoftext|>", "<|eot_id|>"];

    private readonly CausalDecoder _decoder;
    private readonly Tokenizer _tokenizer;
    private readonly ChatTurns _turns;
    private readonly ChatOptions _options;
    private readonly HashSet<long> _ends;
    private readonly TokenSampler _sampler;
    private readonly List<ChatMessage> _messages = [];
    private readonly List<long> _read = [];
    private readonly Continuation _continuation;

    /// <param name="decoder">Stays the caller's.</param>
    public ChatSession(CausalDecoder decoder, Tokenizer tokenizer, ChatTemplate template, ChatOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(decoder);
        ArgumentNullException.ThrowIfNull(tokenizer);
        ArgumentNullException.ThrowIfNull(template);
        (_decoder, _tokenizer, _turns, _options) = (decoder, tokenizer, new ChatTurns(template), options ?? new ChatOptions());
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(_options.MaxNewTokens, nameof(options));
        _sampler = new TokenSampler(_options.Temperature, _options.TopP, _options.Seed);
        _ends = [.. decoder.Config.EndOfSequenceIds, .. EndTokens.Select(tokenizer.TokenToId).OfType<int>().Select(id => (long)id)];
        _continuation = new Continuation(decoder);
        if (_options.SystemPrompt is { } system)
            _messages.Add(_turns.Turn("system", system, isTrusted: true));
    }

    /// <summary>Asks, and gives the answer in pieces as it comes. Special tokens in the question are read letter by letter.</summary>
    /// <exception cref="PipelineException">The conversation no longer fits the model's context.</exception>
    /// <exception cref="OperationCanceledException">Between two tokens after <paramref name="cancellationToken"/> fires; the turn is then forgotten.</exception>
    public IEnumerable<string> Ask(string question, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(question);
        return Answer(question, cancellationToken);
    }

    public void Dispose() => _continuation.Dispose();

    private IEnumerable<string> Answer(string question, CancellationToken cancellationToken)
    {
        var turn = _turns.Turn("user", question, isTrusted: false);
        var prompt = _tokenizer.EncodeToIds(_turns.Template.RenderSegments([.. _messages, turn], addGenerationPrompt: true)).Select(id => (long)id).ToList();
        var room = _decoder.Config.MaxPositionEmbeddings - prompt.Count;
        if (room < 1)
            throw new PipelineException($"the conversation has {prompt.Count} tokens, the model takes {_decoder.Config.MaxPositionEmbeddings}");

        var decoder = new IncrementalDecoder(_tokenizer);
        var answer = new List<string>();
        var next = Next(prompt);
        for (var i = 0; i < Math.Min(room, _options.MaxNewTokens) && !_ends.Contains(next); i++)
        {
            if (decoder.Add(next) is { Length: > 0 } text)
            {
                answer.Add(text);
                yield return text;
            }

            cancellationToken.ThrowIfCancellationRequested();
            prompt.Add(next);
            next = Next(prompt);
        }

        if (decoder.Finish() is { Length: > 0 } rest)
        {
            answer.Add(rest);
            yield return rest;
        }

        _messages.Add(turn);
        _messages.Add(_turns.Turn("assistant", string.Concat(answer), isTrusted: false));
    }

    /// <summary>Reads what of the text is new since the last call, and chooses the token that follows.</summary>
    private long Next(List<long> text)
    {
        using var inference = inference_mode();
        using var scope = NewDisposeScope();
        // An earlier answer, rendered as text, may be cut into other tokens than the ones that were drawn.
        var same = _read.Zip(text).TakeWhile(pair => pair.First == pair.Second).Count();
        same = Math.Min(same, text.Count - 1);
        _continuation.Truncate(same);
        _read.RemoveRange(same, _read.Count - same);
        var added = text.GetRange(same, text.Count - same);
        var logits = _continuation.Read(tensor(added.ToArray(), [1, added.Count], device: _decoder.Device));
        _read.AddRange(added);
        return _sampler.Choose(logits.cpu().contiguous().data<float>().ToArray());
    }
}
