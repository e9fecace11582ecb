using MetaQuery.Models.Checkpoints;
using MetaQuery.Models.Connector;
using MetaQuery.Models.Mllm;
using MetaQuery.Models.Vision;
using MetaQuery.Pipelines.Vision;
using MetaQuery.Sampling;
using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Pipelines;

/// <summary>The frozen MLLM with the learned query tokens behind a prompt, and the connector: everything between ids and a condition.</summary>
/// <remarks>The new token rows stand apart from the decoder's table, which so stays the base model's. Only read while computing: safe to share between threads.</remarks>
public sealed class MllmInContext : IDisposable
{
    /// <summary>New tokens beside the queries: &lt;begin_of_img&gt; and &lt;end_of_img&gt;, rows 0 and 1; the queries follow.</summary>
    public const int Brackets = 2;

    /// <summary>The MLLM's tensors in a checkpoint of the reference.</summary>
    internal const string Backbone = "model.mllm_backbone.";

    // Behind the backbone's and the decoder's prefixes.
    private const string NewRowsKey = "model.embed_tokens.new_rows";
    private const string GrownTableKey = "model.embed_tokens.weight";

    private readonly LoadedOnce<VisionModel?> _vision;
    private readonly Tensor? _newRows;

    /// <param name="decoder">Owned from here on.</param>
    /// <param name="newRows">[N + 2, C], float32; owned from here on. Null: there are no queries, and a condition is made of the prompt's own tokens.</param>
    /// <param name="connector">Owned from here on.</param>
    /// <param name="vision">Loads what reads pictures when the first one comes; what it gives is owned from here on. Null, or giving null: there is none.</param>
    /// <param name="maxConditionTokens">Without queries: tokens that a condition has room for.</param>
    public MllmInContext(CausalDecoder decoder, Tensor? newRows, MetaQueryConnector connector, Func<VisionModel?>? vision = null, int maxConditionTokens = 0)
    {
        (Decoder, _newRows, Connector, NumMetaqueries) = (decoder, newRows, connector, newRows is null ? 0 : checked((int)newRows.shape[0] - Brackets));
        ConditionTokens = newRows is null ? maxConditionTokens : NumMetaqueries;
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(ConditionTokens, newRows is null ? nameof(maxConditionTokens) : nameof(newRows));
        _vision = new LoadedOnce<VisionModel?>(vision ?? (static () => null));
    }

    public CausalDecoder Decoder { get; }

    /// <summary>[N + 2, C], float32: &lt;begin_of_img&gt;, &lt;end_of_img&gt;, &lt;img0&gt; … &lt;imgN-1&gt;. The decoder being causal, &lt;end_of_img&gt; moves nothing.</summary>
    /// <exception cref="InvalidOperationException">There are no queries.</exception>
    public Tensor NewRows => _newRows ?? throw new InvalidOperationException("the model has no queries: its conditions are made of prompts' own tokens");

    public MetaQueryConnector Connector { get; }

    /// <summary>N; 0 where a condition is made of the prompt's own tokens.</summary>
    public int NumMetaqueries { get; }

    /// <summary>Rows of a condition: N, or the room for a prompt's tokens.</summary>
    public int ConditionTokens { get; }

    /// <summary>What reads pictures; loaded when it is first asked for.</summary>
    /// <exception cref="PipelineException">The MLLM has no vision tower that is built here.</exception>
    /// <exception cref="CheckpointException">Its files are missing or malformed.</exception>
    public VisionModel Vision => _vision.Value ?? throw new PipelineException("the model's language model reads no pictures: prompts with images need Qwen2.5-VL or LLaVA-OneVision");

    /// <summary>Pictures that went through the vision tower so far; 0 where there is none.</summary>
    public long PicturePasses => _vision.IsLoaded ? _vision.Value?.Passes ?? 0 : 0;

    /// <summary>Reads the rows of the new tokens: kept apart, or as the last rows of a table that was grown.</summary>
    /// <param name="checkpoint">A MetaQuery checkpoint; read during the call only.</param>
    /// <returns>[N + 2, C], float32.</returns>
    /// <exception cref="CheckpointException">There are none, or their shape is another.</exception>
    public static Tensor LoadNewRows(WeightSource checkpoint, DecoderConfig decoder, int numMetaqueries, Device? device = null)
    {
        ArgumentNullException.ThrowIfNull(checkpoint);
        ArgumentNullException.ThrowIfNull(decoder);
        using var scope = NewDisposeScope();
        var count = numMetaqueries + Brackets;
        var backbone = MllmKinds.Named(checkpoint.WithPrefix(Backbone));
        var table = backbone.WithPrefix(MllmKinds.DecoderPrefix(backbone));
        var rows = table.Contains(NewRowsKey) || !table.Contains(GrownTableKey)
            ? table.Load(NewRowsKey, [count, decoder.HiddenSize], ScalarType.Float32)
            : table.Load(GrownTableKey, [decoder.VocabularySize + count, decoder.HiddenSize], ScalarType.Float32).narrow(0, decoder.VocabularySize, count).clone();
        return (device is null ? rows : rows.to(device)).DetachFromDisposeScope();
    }

    /// <summary>Rows of queries that were never trained: normal, as transformers draws the rows of a table (0.02), a function of the seed.</summary>
    /// <returns>[N + 2, C], float32.</returns>
    public static Tensor DrawNewRows(DecoderConfig decoder, int numMetaqueries, ulong seed, Device? device = null)
    {
        ArgumentNullException.ThrowIfNull(decoder);
        const float InitializerRange = 0.02f; // Qwen2Config and LlamaConfig, transformers 4.49
        var values = new float[checked((numMetaqueries + Brackets) * decoder.HiddenSize)];
        CounterNoise.Fill(seed, sample: 0, values);
        for (var i = 0; i < values.Length; i++)
            values[i] *= InitializerRange;
        return tensor(values, [numMetaqueries + Brackets, decoder.HiddenSize], device: device ?? CPU).DetachFromDisposeScope();
    }

    /// <summary>Hidden states of the query tokens behind prompts.</summary>
    /// <param name="textIds">[B, L], int64: the prompts up to the new tokens (behind the cached ones), padded on the left.</param>
    /// <param name="attentionMask">[B, P + L], int64: 0 is padding; covers the P cached tokens too.</param>
    /// <param name="cache">P earlier tokens, of B rows; receives these. Null: none, and gradients can flow.</param>
    /// <param name="observe">As <see cref="CausalDecoder.Forward"/>.</param>
    /// <returns>[B, N, C], float32, after the last norm.</returns>
    public Tensor QueryStates(Tensor textIds, Tensor attentionMask, KeyValueCache? cache = null, Action<string, Tensor>? observe = null)
    {
        ArgumentNullException.ThrowIfNull(textIds);
        using var scope = NewDisposeScope();
        return QueryStates(Decoder.Embed(textIds), attentionMask, positions: null, cache, observe).MoveToOuterDisposeScope();
    }

    /// <summary>As above, of prompts with pictures among them.</summary>
    /// <param name="prompts">Up to the new tokens, behind the cached ones.</param>
    /// <param name="length">L, to which they are padded on the left.</param>
    /// <returns>[B, N, C], float32, after the last norm.</returns>
    public Tensor QueryStates(IReadOnlyList<PromptTokens> prompts, int length, KeyValueCache? cache = null, Action<string, Tensor>? observe = null)
    {
        ArgumentNullException.ThrowIfNull(prompts);
        using var scope = NewDisposeScope();
        var cached = cache?.Length ?? 0;
        var rows = prompts.Select(prompt => nn.functional.pad(prompt.Embed(Decoder), [0, 0, length - prompt.Ids.Length, 0])).ToList();
        var total = cached + length;
        var mask = prompts.SelectMany(prompt => Enumerable.Repeat(1L, (int)cached).Concat(Enumerable.Repeat(0L, length - prompt.Ids.Length)).Concat(Enumerable.Repeat(1L, prompt.Ids.Length)));
        Tensor? positions = null;
        if (HasAxes(prompts))
        {
            // A row's padding stands between the cached tokens and its own, and has no position.
            positions = stack(prompts.Select(prompt => nn.functional.pad(
                Axes(prompt, cached).Of(cached, prompt.Ids.Length + NumMetaqueries + 1), [length - prompt.Ids.Length, 0])), 1).to(Decoder.Device);
        }

        return QueryStates(stack(rows, 0), tensor(mask.ToArray(), [prompts.Count, total], device: Decoder.Device), positions, cache, observe).MoveToOuterDisposeScope();
    }

    /// <summary>Hidden states of the query tokens behind prompts of different lengths, by a decoder with packed layers: no padding, and a prompt's
    /// states depend on it and the cache alone, bit for bit.</summary>
    /// <param name="prompts">Up to the new tokens (behind the cached ones), each with a token at least.</param>
    /// <param name="cache">Earlier tokens that all prompts share; null: none.</param>
    /// <returns>[B, N, C], float32, after the last norm.</returns>
    public Tensor QueryStates(IReadOnlyList<PromptTokens> prompts, PackedCache? cache = null)
    {
        ArgumentNullException.ThrowIfNull(prompts);
        using var scope = NewDisposeScope();
        var newTokens = NewTokens();
        var cached = cache?.Length ?? 0;
        var axes = HasAxes(prompts) ? new List<Tensor>(prompts.Count) : null;
        var parts = new List<Tensor>(2 * prompts.Count);
        var offsets = new long[prompts.Count + 1];
        for (var i = 0; i < prompts.Count; i++)
        {
            parts.Add(prompts[i].Embed(Decoder));
            parts.Add(newTokens);
            var length = prompts[i].Ids.Length + newTokens.shape[0];
            axes?.Add(Axes(prompts[i], cached).Of(cached, length));
            offsets[i + 1] = offsets[i] + length;
        }

        var hidden = Decoder.ForwardSequences(cat(parts, 0), offsets, cache, positions: axes is null ? null : cat(axes, 1));
        return stack([.. offsets.Skip(1).Select(end => hidden.narrow(0, end - NumMetaqueries, NumMetaqueries))], 0).MoveToOuterDisposeScope();
    }

    /// <summary>Hidden states of a prompt's own tokens, by a model without queries.</summary>
    /// <param name="prompt">All of it.</param>
    /// <returns>[1, tokens, C], float32, after the last norm. Gradients can flow where the decoder is not packed.</returns>
    public Tensor PromptStates(PromptTokens prompt)
    {
        ArgumentNullException.ThrowIfNull(prompt);
        using var scope = NewDisposeScope();
        long length = prompt.Ids.Length;
        var axes = HasAxes([prompt]) ? Axes(prompt, 0).Of(0, length) : null;
        if (Decoder.IsPacked)
            return Decoder.ForwardSequences(prompt.Embed(Decoder), [0, length], positions: axes).unsqueeze(0).MoveToOuterDisposeScope();
        var mask = ones([1, length], dtype: ScalarType.Int64, device: Decoder.Device);
        var positions = axes?.unsqueeze(1).to(Decoder.Device) ?? Attention.Positions(mask);
        return Decoder.Forward(prompt.Embed(Decoder).unsqueeze(0), positions, Attention.CausalMask(mask, length)).MoveToOuterDisposeScope();
    }

    /// <summary>Ids of the new tokens as the reference numbers them, behind the decoder's table, closed by the end of the turn.</summary>
    public IEnumerable<long> NewTokenIds()
    {
        long first = Decoder.Config.VocabularySize;
        return [first, .. Enumerable.Range(0, NumMetaqueries).Select(i => first + Brackets + i), first + 1];
    }

    public void Dispose()
    {
        Decoder.Dispose();
        _newRows?.Dispose();
        Connector.Dispose();
        if (_vision.IsLoaded)
            _vision.Value?.Dispose();
    }

    private Tensor QueryStates(Tensor prompts, Tensor attentionMask, Tensor? positions, KeyValueCache? cache, Action<string, Tensor>? observe)
    {
        var (batch, added) = (prompts.shape[0], NumMetaqueries + 1);
        var newTokens = NewTokens().unsqueeze(0).expand(batch, added, NewRows.shape[1]);
        var embeddings = cat([prompts, newTokens], 1);
        var mask = cat([attentionMask, ones([batch, added], dtype: attentionMask.dtype, device: attentionMask.device)], 1);
        var length = embeddings.shape[1];
        positions ??= Attention.Positions(mask).narrow(1, mask.shape[1] - length, length);
        var hidden = Decoder.Forward(embeddings, positions, Attention.CausalMask(mask, length), cache, observe);
        return hidden.narrow(1, length - NumMetaqueries, NumMetaqueries).contiguous();
    }

    // <begin_of_img> and the queries.
    private Tensor NewTokens() => cat([NewRows.narrow(0, 0, 1), NewRows.narrow(0, Brackets, NumMetaqueries)], 0);

    // Only then do a token's positions on the three axes differ.
    private bool HasAxes(IReadOnlyList<PromptTokens> prompts) => Decoder.Config.Rotary.Sections is not null && prompts.Any(prompt => prompt.Images.Count > 0);

    private static PositionAxes Axes(PromptTokens prompt, long first)
    {
        var axes = new PositionAxes();
        prompt.AddTo(axes, first);
        return axes;
    }
}
