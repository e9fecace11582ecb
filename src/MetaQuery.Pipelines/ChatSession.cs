using MetaQuery.Imaging;
using MetaQuery.Models.Mllm;
using MetaQuery.Models.Vision;
using MetaQuery.Pipelines.Prompting;
using MetaQuery.Pipelines.Vision;
using MetaQuery.Tokenizers;
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
    private readonly List<SeenImage> _images = []; // of all turns, in order
    private readonly VisionModel? _vision;
    private readonly List<long> _read = []; // ids; where a picture stands, its number, so that another picture is another text
    private readonly Continuation _continuation;
    private long _imageCount;

    /// <param name="decoder">Stays the caller's.</param>
    /// <param name="vision">Reads the pictures of questions; stays the caller's. Null: there can be none.</param>
    public ChatSession(CausalDecoder decoder, Tokenizer tokenizer, ChatTemplate template, ChatOptions? options = null, VisionModel? vision = null)
    {
        ArgumentNullException.ThrowIfNull(decoder);
        ArgumentNullException.ThrowIfNull(tokenizer);
        ArgumentNullException.ThrowIfNull(template);
        (_decoder, _tokenizer, _turns, _options) = (decoder, tokenizer, new ChatTurns(template), options ?? new ChatOptions());
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(_options.MaxNewTokens, nameof(options));
        _vision = vision;
        _sampler = new TokenSampler(_options.Temperature, _options.TopP, _options.Seed);
        _ends = [.. decoder.Config.EndOfSequenceIds, .. EndTokens.Select(tokenizer.TokenToId).OfType<int>().Select(id => (long)id)];
        _continuation = new Continuation(decoder);
        if (_options.SystemPrompt is { } system)
            _messages.Add(_turns.Turn("system", system, isTrusted: true));
    }

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
        if (images.Count > 0 && _vision is null)
            throw new PipelineException($"the model reads no pictures, the question has {images.Count}");
        return Answer(question, images, cancellationToken);
    }

    public void Dispose()
    {
        _continuation.Dispose();
        _images.ForEach(image => image.Features.Dispose());
    }

    private IEnumerable<string> Answer(string question, IReadOnlyList<PromptImage> images, CancellationToken cancellationToken)
    {
        var (messages, before) = (_messages.Count, _images.Count);
        try
        {
            foreach (var piece in AnswerTurn(question, images, cancellationToken))
                yield return piece;
        }
        finally
        {
            // A turn that was not answered to its end is forgotten, with its pictures.
            if (_messages.Count == messages)
            {
                _images[before..].ForEach(image => image.Features.Dispose());
                _images.RemoveRange(before, _images.Count - before);
            }
        }
    }

    private IEnumerable<string> AnswerTurn(string question, IReadOnlyList<PromptImage> images, CancellationToken cancellationToken)
    {
        var turn = _turns.Turn("user", question, isTrusted: false, images.Count);
        foreach (var image in images)
            _images.Add(new SeenImage(++_imageCount, _vision!.Encode(image.Read())));
        var prompt = new Conversation(_tokenizer.EncodeToIds(_turns.Template.RenderSegments([.. _messages, turn], addGenerationPrompt: true)), _vision?.Tower.ImageTokenId, _images);
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
    private long Next(Conversation text)
    {
        using var inference = inference_mode();
        using var scope = NewDisposeScope();
        // An earlier answer, rendered as text, may be cut into other tokens than the ones that were drawn.
        var same = text.SameAs(_read);
        _continuation.Truncate(same);
        _read.RemoveRange(same, _read.Count - same);
        var logits = _continuation.Read(text.From(same));
        _read.AddRange(text.Keys.Skip(same));
        return _sampler.Choose(logits.cpu().contiguous().data<float>().ToArray());
    }

    /// <param name="Number">Of the picture in this session.</param>
    private sealed record SeenImage(long Number, ImageFeatures Features);

    /// <summary>The whole text of a conversation, to which an answer's tokens are added.</summary>
    private sealed class Conversation
    {
        private readonly List<long> _ids;
        private readonly IReadOnlyList<PlacedImage> _placed;

        public Conversation(IReadOnlyList<int> ids, long? imageTokenId, List<SeenImage> images)
        {
            long[] wide = [.. ids.Select(id => (long)id)];
            var prompt = imageTokenId is { } token ? PromptTokens.Expand(wide, token, [.. images.Select(image => image.Features)]) : new PromptTokens(wide);
            (_ids, _placed) = ([.. prompt.Ids], prompt.Images);
            Keys = [.. prompt.Ids];
            foreach (var (place, image) in prompt.Images.Zip(images))
            {
                for (var i = 0; i < place.Features.Tokens; i++)
                    Keys[place.Start + i] = -image.Number;
            }
        }

        /// <summary>Ids, and the negative numbers of pictures.</summary>
        public List<long> Keys { get; }

        public int Count => _ids.Count;

        public void Add(long id)
        {
            _ids.Add(id);
            Keys.Add(id);
        }

        /// <returns>How many tokens at the beginning are those that were read; a token is always left, and a picture is never cut.</returns>
        public int SameAs(List<long> read)
        {
            var same = read.Zip(Keys).TakeWhile(pair => pair.First == pair.Second).Count();
            same = Math.Min(same, Keys.Count - 1);
            return _placed.FirstOrDefault(image => image.Start < same && same < image.Start + image.Features.Tokens)?.Start ?? same;
        }

        public PromptTokens From(int start) =>
            new([.. _ids.Skip(start)], [.. _placed.Where(image => image.Start >= start).Select(image => image with { Start = image.Start - start })]);
    }
}
