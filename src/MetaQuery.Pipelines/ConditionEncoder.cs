using MetaQuery.Models.Mllm;
using MetaQuery.Pipelines.Prompting;
using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Pipelines;

/// <summary>How prompts are laid out in batches. Without packed layers conditions are equal bit for bit only under equal settings.</summary>
/// <param name="BatchSize">Prompts that are encoded together. Packed layers take fewer as well. An accelerator's batch is filled up with copies, since
/// products of other heights differ in their last bits. Libtorch's on the CPU differ with a row's place too: there, without packed layers, it is 1.</param>
/// <param name="BucketTokens">Without packed layers a prompt is padded to the next multiple of this: its padding depends on itself alone.</param>
public sealed record ConditionEncoderOptions(int BatchSize = 8, int BucketTokens = 16);

/// <summary>Captions -> conditions. A condition is a function of its caption: bit for bit the same alone, in any batch, at any place.</summary>
/// <remarks>The system prompt's keys and values are computed once. Safe to call from several threads at once.</remarks>
public sealed class ConditionEncoder : IDisposable
{
    private readonly MllmInContext _model;
    private readonly MetaQueryPrompt _prompt;
    private readonly ConditionEncoderOptions _options;
    private readonly int _batchSize;
    private readonly Lazy<KeyValueCache> _prefix;
    private readonly Lazy<PackedCache> _packedPrefix;

    public ConditionEncoder(MllmInContext model, MetaQueryPrompt prompt, ConditionEncoderOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(model);
        ArgumentNullException.ThrowIfNull(prompt);
        (_model, _prompt, _options) = (model, prompt, options ?? new ConditionEncoderOptions());
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(_options.BatchSize, nameof(options));
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(_options.BucketTokens, nameof(options));
        _batchSize = model.Decoder.IsPacked || model.Decoder.Device.type != DeviceType.CPU ? _options.BatchSize : 1;
        _prefix = new Lazy<KeyValueCache>(ReadPrefix);
        _packedPrefix = new Lazy<PackedCache>(ReadPackedPrefix);
    }

    /// <summary>Prompts that went through the MLLM so far.</summary>
    public long Passes => Interlocked.Read(ref _passes);

    private long _passes;

    /// <summary>The conditions of captions, in their order, as they are cached and handed to a denoiser.</summary>
    /// <returns>Per caption [N, D] in bfloat16, little-endian, row by row.</returns>
    /// <exception cref="OperationCanceledException">Between two batches after <paramref name="cancellationToken"/> fires.</exception>
    public IReadOnlyList<byte[]> Encode(IReadOnlyList<string> captions, CancellationToken cancellationToken = default)
    {
        var conditions = new byte[captions.Count][];
        EncodeBatches(captions, cancellationToken, (_, batch) =>
        {
            using var rounded = batch.Condition.to(ScalarType.BFloat16).cpu().contiguous();
            var bytes = rounded.bytes;
            for (var i = 0; i < batch.Rows.Length; i++)
                conditions[batch.Rows[i].Index] = bytes.Slice(i * ConditionBytes, ConditionBytes).ToArray();
        });
        return conditions;
    }

    /// <summary>As <see cref="Encode"/>, before the rounding: what parity is measured on.</summary>
    /// <param name="observe">Is shown the index of a caption, its hidden states [N, C] and its condition [N, D], both float32.</param>
    /// <exception cref="OperationCanceledException">Between two batches after <paramref name="cancellationToken"/> fires.</exception>
    public void Observe(IReadOnlyList<string> captions, Action<int, Tensor, Tensor> observe, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(observe);
        EncodeBatches(captions, cancellationToken, (states, batch) =>
        {
            for (var i = 0; i < batch.Rows.Length; i++)
            {
                using var scope = NewDisposeScope();
                observe(batch.Rows[i].Index, states.select(0, i), batch.Condition.select(0, i));
            }
        });
    }

    /// <summary>Bytes of one condition.</summary>
    public int ConditionBytes => _model.NumMetaqueries * _model.Connector.OutputSize * sizeof(ushort);

    public void Dispose()
    {
        if (_prefix.IsValueCreated)
            _prefix.Value.Dispose();
        if (_packedPrefix.IsValueCreated)
            _packedPrefix.Value.Dispose();
    }

    private Row Layout(int index, long[] ids)
    {
        var prefix = _prompt.SharedPrefix.Count;
        var hasPrefix = prefix > 0 && ids.Length > prefix && ids.Take(prefix).SequenceEqual(_prompt.SharedPrefix);
        var rest = hasPrefix ? ids[prefix..] : ids;
        if (_model.Decoder.IsPacked)
            return new Row(index, rest, hasPrefix, PaddedLength: 0);
        // The new tokens stand behind the text, and count towards the bucket: the products' height is their sum.
        var newTokens = _model.NumMetaqueries + 1;
        var padded = ((rest.Length + newTokens + _options.BucketTokens - 1) / _options.BucketTokens * _options.BucketTokens) - newTokens;
        return new Row(index, rest, hasPrefix, padded);
    }

    private void EncodeBatches(IReadOnlyList<string> captions, CancellationToken cancellationToken, Action<Tensor, Batch> receive)
    {
        ArgumentNullException.ThrowIfNull(captions);
        var rows = captions.Select((caption, i) => Layout(i, _prompt.Encode(caption))).ToList();
        foreach (var batch in rows.GroupBy(row => (row.HasPrefix, row.PaddedLength)).SelectMany(group => group.Chunk(_batchSize)))
        {
            cancellationToken.ThrowIfCancellationRequested();
            using var inference = inference_mode();
            using var scope = NewDisposeScope();
            var states = QueryStates(batch);
            receive(states, new Batch(batch, _model.Connector.Forward(states)));
            Interlocked.Add(ref _passes, batch.Length);
        }
    }

    private Tensor QueryStates(Row[] batch)
    {
        if (_model.Decoder.IsPacked)
            return _model.QueryStates([.. batch.Select(row => row.Ids)], batch[0].HasPrefix ? _packedPrefix.Value : null);
        var (length, prefix) = (batch[0].PaddedLength, batch[0].HasPrefix ? _prompt.SharedPrefix.Count : 0);
        var size = _batchSize;
        var ids = new long[size * length];
        var mask = new long[size * (prefix + length)];
        for (var i = 0; i < size; i++)
        {
            var row = batch[Math.Min(i, batch.Length - 1)].Ids;
            row.CopyTo(ids, ((i + 1) * length) - row.Length);
            mask.AsSpan(i * (prefix + length), prefix).Fill(1);
            mask.AsSpan(((i + 1) * (prefix + length)) - row.Length, row.Length).Fill(1);
        }

        var device = _model.Decoder.Device;
        using var cache = prefix > 0 ? _prefix.Value.Fork(size, length + _model.NumMetaqueries + 1) : null;
        return _model.QueryStates(
            tensor(ids, [size, length], device: device), tensor(mask, [size, prefix + length], device: device), cache);
    }

    private KeyValueCache ReadPrefix()
    {
        using var inference = inference_mode();
        using var scope = NewDisposeScope();
        var ids = tensor(_prompt.SharedPrefix.ToArray(), [1, _prompt.SharedPrefix.Count], device: _model.Decoder.Device);
        var mask = ones_like(ids);
        var cache = _model.Decoder.NewCache();
        _model.Decoder.Forward(_model.Decoder.Embed(ids), Attention.Positions(mask), Attention.CausalMask(mask, ids.shape[1]), cache);
        return cache;
    }

    private PackedCache ReadPackedPrefix()
    {
        using var inference = inference_mode();
        using var scope = NewDisposeScope();
        var ids = tensor(_prompt.SharedPrefix.ToArray(), [1, _prompt.SharedPrefix.Count]);
        var cache = _model.Decoder.NewPackedCache();
        _model.Decoder.ForwardSequences(_model.Decoder.Embed(ids).squeeze(0), [0, _prompt.SharedPrefix.Count], cache, append: true);
        return cache;
    }

    private sealed record Batch(Row[] Rows, Tensor Condition);

    private sealed record Row(int Index, long[] Ids, bool HasPrefix, int PaddedLength);
}
