using MetaQuery.Imaging;
using MetaQuery.Models.Mllm;
using MetaQuery.Models.Vision;
using MetaQuery.Pipelines.Prompting;
using MetaQuery.Pipelines.Vision;
using MetaQuery.Tokenizers;
using static TorchSharp.torch;

namespace MetaQuery.Pipelines;

/// <summary>Why an answer ended.</summary>
public enum ChatEnd
{
    /// <summary>It has not ended, or was left before its end.</summary>
    None,

    /// <summary>The model ended its turn, or a text of <see cref="ChatOptions.Stop"/> came.</summary>
    Stop,

    /// <summary>It was cut after <see cref="ChatOptions.MaxNewTokens"/>, or the model's context is full.</summary>
    Length,
}

/// <summary>How an answer's tokens are chosen.</summary>
/// <param name="Temperature">0: always the most likely token. Otherwise logits are divided by it and a token is drawn.</param>
/// <param name="TopP">A token is drawn among the most likely ones that together reach this probability.</param>
/// <param name="Seed">Of the drawing; the same seed, the same answer.</param>
/// <param name="MaxNewTokens">An answer is cut here.</param>
/// <param name="SystemPrompt">Null: what the checkpoint's template puts there by itself.</param>
/// <param name="Stop">An answer ends before the first of these texts, none of them empty. Null: none.</param>
public sealed record ChatOptions(
    double Temperature = 0, double TopP = 1, int Seed = 0, int MaxNewTokens = 512, string? SystemPrompt = null, IReadOnlyList<string>? Stop = null);

/// <summary>A conversation with the frozen LLM, over its base token table: what image generation added has no part in it.</summary>
/// <remarks>Keys and values of earlier turns are kept. Not thread-safe; several sessions may share a decoder.</remarks>
public sealed class ChatSession : IDisposable
{
    // Ends of a turn that a checkpoint's config may not list.
    private static readonly string[] EndTokens = ["<|im_end|>", "<|endoftext|>", "<|eot_id|>"];

    private const int PieceTokens = 512;

    private readonly CausalDecoder _decoder;
    private readonly Tokenizer _tokenizer;
    private readonly ChatTurns _turns;
    private readonly ChatOptions _options;
    private readonly HashSet<long> _ends;
    private readonly TokenSampler _sampler;
    private readonly List<ChatMessage> _messages = [];
    private readonly List<SeenImage> _images = []; // of all turns, in order
    private readonly VisionModel? _vision;
    private readonly VisionFeatureCache? _features;
    private readonly List<long> _read = []; // ids; where a picture stands, its number, so that another picture is another text
    private readonly Continuation _continuation;
    private long _imageCount;

    /// <param name="decoder">Stays the caller's.</param>
    /// <param name="vision">Reads the pictures of questions; stays the caller's. Null: there can be none.</param>
    /// <param name="features">Keeps pictures' states for other sessions; stays the caller's. Null: none are kept.</param>
    /// <exception cref="PipelineException">The checkpoint has no output head.</exception>
    public ChatSession(
        CausalDecoder decoder, Tokenizer tokenizer, ChatTemplate template, ChatOptions? options = null, VisionModel? vision = null, VisionFeatureCache? features = null)
    {
        ArgumentNullException.ThrowIfNull(decoder);
        ArgumentNullException.ThrowIfNull(tokenizer);
        ArgumentNullException.ThrowIfNull(template);
        (_decoder, _tokenizer, _turns, _options) = (decoder, tokenizer, new ChatTurns(template), options ?? new ChatOptions());
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(_options.MaxNewTokens, nameof(options));
        if (!decoder.HasHead)
            throw new PipelineException("the checkpoint has no output head (lm_head.weight), as a MetaQuery checkpoint's MLLM has none: to chat, put the base model's weights into mllm/");
        (_vision, _features) = (vision, features);
        _sampler = new TokenSampler(_options.Temperature, _options.TopP, _options.Seed);
        _ends = [.. decoder.Config.EndOfSequenceIds, .. EndTokens.Select(tokenizer.TokenToId).OfType<int>().Select(id => (long)id)];
        _continuation = new Continuation(decoder);
        if (_options.SystemPrompt is { } system)
            _messages.Add(_turns.Turn("system", system, isTrusted: true));
    }

    /// <summary>Tokens of the whole conversation that the last answer was given to, pictures' among them.</summary>
    public int PromptTokens { get; private set; }

    /// <summary>Whether that conversation leaves no room for an answer in the model's context.</summary>
    public bool IsFull => PromptTokens >= _decoder.Config.MaxPositionEmbeddings;

    /// <summary>Tokens of the last answer so far.</summary>
    public int AnswerTokens { get; private set; }

    /// <summary>Why the last answer ended.</summary>
    public ChatEnd End { get; private set; }

    /// <summary>Asks, and gives the answer in pieces as it comes. Special tokens in the question are read letter by letter.</summary>
    /// <exception cref="PipelineException">The conversation no longer fits the model's context.</exception>
    /// <exception cref="OperationCanceledException">Between two tokens after <paramref name="cancellationToken"/> fires; the turn is then forgotten.</exception>
    public IEnumerable<string> Ask(string question, CancellationToken cancellationToken = default) => Ask(question, [], cancellationToken);

    /// <inheritdoc cref="Ask(string, CancellationToken)"/>
    /// <param name="images">Stand before the question.</param>
    /// <exception cref="ImageFormatException">A picture is malformed, or the model's processor refuses it.</exception>
    public IEnumerable<string> Ask(string question, IReadOnlyList<PromptImage> images, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(question);
        ArgumentNullException.ThrowIfNull(images);
        return Answer([new ChatTurn("user", [.. images.Select(ChatTurnPart.Of), ChatTurnPart.Of(question)])], cancellationToken);
    }

    /// <summary>Adds turns to the conversation, and answers them.</summary>
    /// <param name="turns">In their order; control tokens in their texts are read letter by letter.</param>
    /// <inheritdoc cref="Ask(string, IReadOnlyList{PromptImage}, CancellationToken)" path="/exception"/>
    /// <exception cref="ChatTemplateException">The checkpoint's template refuses these turns.</exception>
    public IEnumerable<string> Answer(IReadOnlyList<ChatTurn> turns, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(turns);
        if (turns.Sum(turn => turn.Images.Count()) is > 0 and var count && _vision is null)
            throw new PipelineException($"the model reads no pictures, the question has {count}");
        return AnswerOrForget(turns, cancellationToken);
    }

    public void Dispose()
    {
        _continuation.Dispose();
        _images.ForEach(image => image.Features.Dispose());
    }

    private IEnumerable<string> AnswerOrForget(IReadOnlyList<ChatTurn> turns, CancellationToken cancellationToken)
    {
        var (messages, before) = (_messages.Count, _images.Count);
        try
        {
            foreach (var piece in AnswerTurns(turns, cancellationToken))
                yield return piece;
        }
        finally
        {
            // Turns that were not answered to their end are forgotten, with their pictures.
            if (_messages.Count == messages)
            {
                _images[before..].ForEach(image => image.Features.Dispose());
                _images.RemoveRange(before, _images.Count - before);
            }
        }
    }

    private IEnumerable<string> AnswerTurns(IReadOnlyList<ChatTurn> turns, CancellationToken cancellationToken)
    {
        (PromptTokens, AnswerTokens, End) = (0, 0, ChatEnd.None);
        List<ChatMessage> added = [.. turns.Select(turn => _turns.Turn(turn, isTrusted: false))];
        var ids = _tokenizer.EncodeToIds(_turns.Template.RenderSegments([.. _messages, .. added], addGenerationPrompt: true));
        _ = RoomBehind(ids.Count); // before pictures are looked at
        foreach (var image in turns.SelectMany(turn => turn.Images))
        {
            cancellationToken.ThrowIfCancellationRequested();
            _images.Add(new SeenImage(++_imageCount, Encode(image, cancellationToken)));
        }

        var prompt = new Conversation(ids, _vision?.Tower.ImageTokenId, _images);
        var room = RoomBehind(prompt.Count);
        var decoder = new IncrementalDecoder(_tokenizer);
        var stop = new StopTexts(_options.Stop ?? []);
        var answer = new List<string>();
        var next = Next(prompt, cancellationToken);
        while (!_ends.Contains(next))
        {
            AnswerTokens++;
            if (stop.Add(decoder.Add(next)) is { Length: > 0 } text)
            {
                answer.Add(text);
                yield return text;
            }

            if (stop.HasCome)
                break;
            cancellationToken.ThrowIfCancellationRequested();
            if (AnswerTokens == Math.Min(room, _options.MaxNewTokens))
            {
                End = ChatEnd.Length; // without a pass for a token that would not be read
                break;
            }

            prompt.Add(next);
            next = Next(prompt, cancellationToken);
        }

        if (!stop.HasCome && stop.Add(decoder.Finish()) + stop.Finish() is { Length: > 0 } rest)
        {
            answer.Add(rest);
            yield return rest;
        }

        End = End == ChatEnd.None || stop.HasCome ? ChatEnd.Stop : End;
        _messages.AddRange(added);
        _messages.Add(_turns.Turn("assistant", string.Concat(answer), isTrusted: false));
    }

    private int RoomBehind(int tokens)
    {
        PromptTokens = tokens;
        return !IsFull ? _decoder.Config.MaxPositionEmbeddings - tokens
            : throw new PipelineException($"the conversation has {tokens} tokens, the model takes {_decoder.Config.MaxPositionEmbeddings}");
    }

    private ImageFeatures Encode(PromptImage image, CancellationToken cancellationToken) =>
        _features is null ? _vision!.Encode(image.Read()) : _features.GetOrEncode(image.Hash, () => _vision!.Encode(image.Read()), cancellationToken);

    /// <summary>Reads what of the text is new since the last call, and chooses the token that follows.</summary>
    private long Next(Conversation text, CancellationToken cancellationToken)
    {
        using var inference = inference_mode();
        using var scope = NewDisposeScope();
        // An earlier answer, rendered as text, may be cut into other tokens than the ones that were drawn.
        var same = text.SameAs(_read);
        _continuation.Truncate(same);
        _read.RemoveRange(same, _read.Count - same);
        while (true)
        {
            // In pieces, so that whoever leaves need not be read to the end.
            var end = text.PieceEnd(same, PieceTokens);
            using var piece = NewDisposeScope();
            var logits = _continuation.Read(text.Between(same, end));
            _read.AddRange(text.Keys[same..end]);
            if (end == text.Count)
                return _sampler.Choose(logits.cpu().contiguous().data<float>().ToArray());
            cancellationToken.ThrowIfCancellationRequested();
            same = end;
        }
    }
}
