using MetaQuery.Models.Checkpoints;
using MetaQuery.Models.Connector;
using MetaQuery.Models.Mllm;
using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Pipelines;

/// <summary>The frozen MLLM with the learned query tokens behind a prompt, and the connector: everything between ids and a condition.</summary>
/// <remarks>The new token rows stand apart from the decoder's table, which so stays the base model's. Only read while computing: safe to share between threads.</remarks>
public sealed class MllmInContext : IDisposable
{
    /// <summary>New tokens beside the queries: &lt;begin_of_img&gt; and &lt;end_of_img&gt;, rows 0 and 1; the queries follow.</summary>
    public const int Brackets = 2;

    private const string NewRowsKey = "model.mllm_backbone.model.embed_tokens.new_rows";
    private const string GrownTableKey = "model.mllm_backbone.model.embed_tokens.weight";

    /// <param name="decoder">Owned from here on.</param>
    /// <param name="newRows">[N + 2, C], float32; owned from here on.</param>
    /// <param name="connector">Owned from here on.</param>
    public MllmInContext(CausalDecoder decoder, Tensor newRows, MetaQueryConnector connector) =>
        (Decoder, NewRows, Connector, NumMetaqueries) = (decoder, newRows, connector, checked((int)newRows.shape[0] - Brackets));

    public CausalDecoder Decoder { get; }

    /// <summary>[N + 2, C], float32: &lt;begin_of_img&gt;, &lt;end_of_img&gt;, &lt;img0&gt; … &lt;imgN-1&gt;. The decoder being causal, &lt;end_of_img&gt; moves nothing.</summary>
    public Tensor NewRows { get; }

    public MetaQueryConnector Connector { get; }

    public int NumMetaqueries { get; }

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
        var rows = checkpoint.Contains(NewRowsKey) || !checkpoint.Contains(GrownTableKey)
            ? checkpoint.Load(NewRowsKey, [count, decoder.HiddenSize], ScalarType.Float32)
            : checkpoint.Load(GrownTableKey, [decoder.VocabularySize + count, decoder.HiddenSize], ScalarType.Float32).narrow(0, decoder.VocabularySize, count).clone();
        return (device is null ? rows : rows.to(device)).DetachFromDisposeScope();
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
        var batch = textIds.shape[0];
        var added = NumMetaqueries + 1;
        var newTokens = cat([NewRows.narrow(0, 0, 1), NewRows.narrow(0, Brackets, NumMetaqueries)], 0).unsqueeze(0).expand(batch, added, NewRows.shape[1]);
        var embeddings = cat([Decoder.Embed(textIds), newTokens], 1);
        var mask = cat([attentionMask, ones([batch, added], dtype: attentionMask.dtype, device: attentionMask.device)], 1);
        var length = embeddings.shape[1];
        var positions = Attention.Positions(mask).narrow(1, mask.shape[1] - length, length);
        var hidden = Decoder.Forward(embeddings, positions, Attention.CausalMask(mask, length), cache, observe);
        return hidden.narrow(1, length - NumMetaqueries, NumMetaqueries).contiguous().MoveToOuterDisposeScope();
    }

    /// <summary>Hidden states of the query tokens behind prompts of different lengths, by a decoder with packed layers: no padding, and a prompt's
    /// states depend on it and the cache alone, bit for bit.</summary>
    /// <param name="texts">Per prompt the ids up to the new tokens (behind the cached ones), at least one.</param>
    /// <param name="cache">Earlier tokens that all prompts share; null: none.</param>
    /// <returns>[B, N, C], float32, after the last norm.</returns>
    public Tensor QueryStates(IReadOnlyList<long[]> texts, PackedCache? cache = null)
    {
        ArgumentNullException.ThrowIfNull(texts);
        using var scope = NewDisposeScope();
        var embedded = Decoder.Embed(tensor(texts.SelectMany(text => text).ToArray(), [1, texts.Sum(text => text.Length)])).squeeze(0);
        var newTokens = cat([NewRows.narrow(0, 0, 1), NewRows.narrow(0, Brackets, NumMetaqueries)], 0);
        var parts = new List<Tensor>(2 * texts.Count);
        var offsets = new long[texts.Count + 1];
        long read = 0;
        for (var i = 0; i < texts.Count; i++)
        {
            parts.Add(embedded.narrow(0, read, texts[i].Length));
            parts.Add(newTokens);
            read += texts[i].Length;
            offsets[i + 1] = offsets[i] + texts[i].Length + newTokens.shape[0];
        }

        var hidden = Decoder.ForwardSequences(cat(parts, 0), offsets, cache);
        return stack([.. offsets.Skip(1).Select(end => hidden.narrow(0, end - NumMetaqueries, NumMetaqueries))], 0).MoveToOuterDisposeScope();
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
        NewRows.Dispose();
        Connector.Dispose();
    }
}
