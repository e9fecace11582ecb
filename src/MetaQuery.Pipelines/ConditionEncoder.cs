using MetaQuery.Imaging;
using MetaQuery.Models.Mllm;
using MetaQuery.Models.Vision;
using MetaQuery.Pipelines.Prompting;
using MetaQuery.Pipelines.Vision;
using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Pipelines;

/// <summary>How prompts are laid out in batches. Without packed layers conditions are equal bit for bit only under equal settings.</summary>
/// <param name="BatchSize">Prompts that are encoded together. Packed layers take fewer as well. An accelerator's batch is filled up with copies, since
/// products of other heights differ in their last bits. Libtorch's on the CPU differ with a row's place too: there, without packed layers, it is 1.</param>
/// <param name="BucketTokens">Without packed layers a prompt is padded to the next multiple of this: its padding depends on itself alone.</param>
/// <param name="MaxBatchTokens">Packed layers take fewer prompts at once where these are so long together; a picture may be a thousand tokens.</param>
/// <param name="FeatureCacheBytes">Vision features that are kept, so that many prompts about one picture run the vision tower once.</param>
/// <param name="MaxHeldFeatureBytes">Vision features that prompts of one call hold beside the cache while they wait for their batch: with more, those that
/// are read are encoded first. One prompt's own are held whatever they take.</param>
public sealed record ConditionEncoderOptions(
    int BatchSize = 8, int BucketTokens = 16, int MaxBatchTokens = 4096, long FeatureCacheBytes = 256L << 20, long MaxHeldFeatureBytes = 128L << 20);

/// <summary>Prompts -> conditions. A condition is a function of its prompt: bit for bit the same alone, in any batch, at any place.</summary>
/// <remarks>The system prompt's keys and values are computed once, and so are the features of a picture that several prompts have. Safe to call from
/// several threads at once.</remarks>
public sealed class ConditionEncoder : IDisposable
{
    private readonly MllmInContext _model;
    private readonly MetaQueryPrompt _prompt;
    private readonly ConditionEncoderOptions _options;
    private readonly int _batchSize;
    private readonly LoadedOnce<KeyValueCache> _prefix;
    private readonly LoadedOnce<PackedCache> _packedPrefix;
    private readonly VisionFeatureCache _features;

    public ConditionEncoder(MllmInContext model, MetaQueryPrompt prompt, ConditionEncoderOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(model);
        ArgumentNullException.ThrowIfNull(prompt);
        (_model, _prompt, _options) = (model, prompt, options ?? new ConditionEncoderOptions());
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(_options.BatchSize, nameof(options));
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(_options.BucketTokens, nameof(options));
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(_options.MaxHeldFeatureBytes, nameof(options));
        _features = new VisionFeatureCache(_options.FeatureCacheBytes);
        _batchSize = model.Decoder.IsPacked || model.Decoder.Device.type != DeviceType.CPU ? _options.BatchSize : 1;
        _prefix = new LoadedOnce<KeyValueCache>(ReadPrefix);
        _packedPrefix = new LoadedOnce<PackedCache>(ReadPackedPrefix);
    }

    /// <summary>Prompts that went through the MLLM so far.</summary>
    public long Passes => Interlocked.Read(ref _passes);

    private long _passes;

    /// <inheritdoc cref="Encode(IReadOnlyList{ConditionPrompt}, CancellationToken)"/>
    public IReadOnlyList<byte[]> Encode(IReadOnlyList<string> captions, CancellationToken cancellationToken = default) =>
        Encode(Prompts(captions), cancellationToken);

    /// <summary>The conditions of prompts, in their order, as they are cached and handed to a denoiser.</summary>
    /// <returns>Per prompt [N, D] in bfloat16, little-endian, row by row. Without queries the prompt's tokens, and behind them rows of zeros, for which a
    /// denoiser has no tokens.</returns>
    /// <exception cref="OperationCanceledException">Between two batches after <paramref name="cancellationToken"/> fires.</exception>
    /// <exception cref="PipelineException">There are pictures, and the model reads none; or a prompt is longer than the model takes.</exception>
    /// <exception cref="ImageFormatException">The model's processor refuses a picture (<see cref="Check"/> tells before).</exception>
    public IReadOnlyList<byte[]> Encode(IReadOnlyList<ConditionPrompt> prompts, CancellationToken cancellationToken = default) => Encode(prompts, progress: null, cancellationToken);

    /// <inheritdoc cref="Encode(IReadOnlyList{ConditionPrompt}, CancellationToken)"/>
    /// <param name="prompts">What to encode.</param>
    /// <param name="progress">Told after each prompt that was read, its pictures with it, and after each batch that was encoded.</param>
    /// <param name="cancellationToken">Ends it.</param>
    public IReadOnlyList<byte[]> Encode(IReadOnlyList<ConditionPrompt> prompts, Action? progress, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(prompts);
        var conditions = new byte[prompts.Count][];
        EncodeBatches(prompts, progress, cancellationToken, (_, batch) =>
        {
            using var rounded = batch.Condition.to(ScalarType.BFloat16).cpu().contiguous();
            var bytes = rounded.bytes;
            for (var i = 0; i < batch.Rows.Length; i++)
                conditions[batch.Rows[i].Index] = bytes.Slice(i * ConditionBytes, ConditionBytes).ToArray();
        });
        return conditions;
    }

    /// <summary>As <see cref="Encode(IReadOnlyList{ConditionPrompt}, CancellationToken)"/>, before the rounding: what parity is measured on.</summary>
    /// <param name="observe">Is shown the index of a prompt, its hidden states [N, C] and its condition [N, D], both float32.</param>
    /// <exception cref="OperationCanceledException">Between two batches after <paramref name="cancellationToken"/> fires.</exception>
    public void Observe(IReadOnlyList<string> captions, Action<int, Tensor, Tensor> observe, CancellationToken cancellationToken = default) =>
        Observe(Prompts(captions), observe, cancellationToken);

    /// <inheritdoc cref="Observe(IReadOnlyList{string}, Action{int, Tensor, Tensor}, CancellationToken)"/>
    public void Observe(IReadOnlyList<ConditionPrompt> prompts, Action<int, Tensor, Tensor> observe, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(observe);
        EncodeBatches(prompts, progress: null, cancellationToken, (states, batch) =>
        {
            for (var i = 0; i < batch.Rows.Length; i++)
            {
                using var scope = NewDisposeScope();
                observe(batch.Rows[i].Index, states.select(0, i), batch.Condition.select(0, i));
            }
        });
    }

    /// <summary>Finds out whether the model takes a picture of this size, without reading the picture.</summary>
    /// <exception cref="PipelineException">The model reads no pictures.</exception>
    /// <exception cref="ImageFormatException">The model's processor refuses it.</exception>
    public void Check(int widthPixels, int heightPixels) => _model.Vision.Processor.Check(heightPixels, widthPixels);

    /// <summary>Bytes of one condition.</summary>
    public int ConditionBytes => _model.ConditionTokens * _model.Connector.OutputSize * sizeof(ushort);

    public void Dispose()
    {
        if (_prefix.IsLoaded)
            _prefix.Value.Dispose();
        if (_packedPrefix.IsLoaded)
            _packedPrefix.Value.Dispose();
        _features.Dispose();
    }

    private static List<ConditionPrompt> Prompts(IReadOnlyList<string> captions)
    {
        ArgumentNullException.ThrowIfNull(captions);
        return [.. captions.Select(caption => new ConditionPrompt(caption))];
    }

    /// <param name="features">Receives the pictures' features, which the rows borrow.</param>
    private PromptTokens Read(ConditionPrompt prompt, List<ImageFeatures> features, CancellationToken cancellationToken)
    {
        var ids = _prompt.Encode(prompt.Caption, prompt.Images.Count);
        if (prompt.Images.Count == 0)
            return Fitting(new PromptTokens(ids));
        var vision = _model.Vision;
        var images = new List<ImageFeatures>(prompt.Images.Count);
        foreach (var image in prompt.Images)
        {
            images.Add(_features.GetOrEncode(image.Hash, () => vision.Encode(image.Read()), cancellationToken));
            features.Add(images[^1]);
        }

        var tokens = PromptTokens.Expand(ids, vision.Tower.ImageTokenId, images);
        var most = _model.Decoder.Config.MaxPositionEmbeddings;
        return tokens.Ids.Length + _model.NumMetaqueries < most ? Fitting(tokens)
            : throw new PipelineException($"the prompt has {tokens.Ids.Length} tokens with its {images.Count} images, the model takes {most - _model.NumMetaqueries - 1}");
    }

    private PromptTokens Fitting(PromptTokens tokens) => _model.NumMetaqueries > 0 || tokens.Ids.Length <= _model.ConditionTokens ? tokens
        : throw new PipelineException($"the prompt has {tokens.Ids.Length} tokens, a condition of this model has room for {_model.ConditionTokens} (max_condition_tokens)");

    private Row Layout(int index, PromptTokens tokens)
    {
        if (_model.NumMetaqueries == 0)
            return new Row(index, tokens, HasPrefix: false, PaddedLength: 0); // the prefix's tokens are part of the condition
        var prefix = _prompt.SharedPrefix.Count;
        var hasPrefix = prefix > 0 && tokens.Ids.Length > prefix && tokens.Ids.Take(prefix).SequenceEqual(_prompt.SharedPrefix);
        var rest = hasPrefix ? tokens.From(prefix) : tokens;
        if (_model.Decoder.IsPacked)
            return new Row(index, rest, hasPrefix, PaddedLength: 0);
        // The new tokens stand behind the text, and count towards the bucket: the products' height is their sum.
        var newTokens = _model.NumMetaqueries + 1;
        var padded = ((rest.Ids.Length + newTokens + _options.BucketTokens - 1) / _options.BucketTokens * _options.BucketTokens) - newTokens;
        return new Row(index, rest, hasPrefix, padded);
    }

    private void EncodeBatches(IReadOnlyList<ConditionPrompt> prompts, Action? progress, CancellationToken cancellationToken, Action<Tensor, Batch> receive)
    {
        for (var next = 0; next < prompts.Count;)
        {
            var features = new List<ImageFeatures>();
            try
            {
                var rows = new List<Row>();
                var held = 0L;
                for (; next < prompts.Count && held < _options.MaxHeldFeatureBytes; next++)
                {
                    cancellationToken.ThrowIfCancellationRequested();
                    var known = features.Count;
                    rows.Add(Layout(next, Read(prompts[next], features, cancellationToken)));
                    progress?.Invoke();
                    held += features.Skip(known).Sum(feature => feature.Bytes);
                }

                foreach (var batch in rows.GroupBy(row => (row.HasPrefix, row.PaddedLength)).SelectMany(Batches))
                {
                    cancellationToken.ThrowIfCancellationRequested();
                    Encode(batch, receive);
                    progress?.Invoke();
                }
            }
            finally
            {
                features.ForEach(feature => feature.Dispose());
            }
        }
    }

    private void Encode(Row[] batch, Action<Tensor, Batch> receive)
    {
        using var inference = inference_mode();
        using var scope = NewDisposeScope();
        var states = _model.NumMetaqueries == 0 ? _model.PromptStates(batch[0].Tokens) : QueryStates(batch);
        var condition = _model.Connector.Forward(states);
        receive(states, new Batch(batch, _model.NumMetaqueries > 0 ? condition : nn.functional.pad(condition, [0, 0, 0, _model.ConditionTokens - condition.shape[1]])));
        Interlocked.Add(ref _passes, batch.Length);
    }

    private IEnumerable<Row[]> Batches(IEnumerable<Row> rows)
    {
        var batch = new List<Row>();
        var tokens = 0L;
        foreach (var row in rows)
        {
            var length = row.Tokens.Ids.Length + _model.NumMetaqueries + 1;
            if (batch.Count == (_model.NumMetaqueries > 0 ? _batchSize : 1) || (batch.Count > 0 && _model.Decoder.IsPacked && tokens + length > _options.MaxBatchTokens))
            {
                yield return [.. batch];
                batch.Clear();
                tokens = 0;
            }

            batch.Add(row);
            tokens += length;
        }

        if (batch.Count > 0)
            yield return [.. batch];
    }

    private Tensor QueryStates(Row[] batch)
    {
        if (_model.Decoder.IsPacked)
            return _model.QueryStates([.. batch.Select(row => row.Tokens)], batch[0].HasPrefix ? _packedPrefix.Value : null);
        var length = batch[0].PaddedLength;
        using var cache = batch[0].HasPrefix ? _prefix.Value.Fork(_batchSize, length + _model.NumMetaqueries + 1) : null;
        return _model.QueryStates([.. Enumerable.Range(0, _batchSize).Select(i => batch[Math.Min(i, batch.Length - 1)].Tokens)], length, cache);
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

    private sealed record Row(int Index, PromptTokens Tokens, bool HasPrefix, int PaddedLength);
}
