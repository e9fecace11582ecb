using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Models.Mllm;

/// <summary>Keys and values of the tokens that a decoder has seen, so that they are computed once.</summary>
/// <remarks>Owns its memory, and is written in place: for inference only.</remarks>
public sealed class KeyValueCache : IDisposable
{
    private readonly LayerCache[] _layers;

    public KeyValueCache(int numLayers) => _layers = [.. Enumerable.Range(0, numLayers).Select(_ => new LayerCache())];

    private KeyValueCache(LayerCache[] layers) => _layers = layers;

    /// <summary>Tokens held.</summary>
    public long Length => _layers[0].Length;

    public LayerCache this[int layer] => _layers[layer];

    /// <summary>A cache of its own that begins with this one's tokens: a system prompt's keys and values for prompts that share it.</summary>
    /// <param name="batchSize">Rows; this cache has one row, or as many.</param>
    /// <param name="additionalTokens">How many tokens will follow; the memory for them is taken at once.</param>
    public KeyValueCache Fork(long batchSize, long additionalTokens) => new([.. _layers.Select(layer => layer.Fork(batchSize, additionalTokens))]);

    /// <summary>Forgets all tokens after the first <paramref name="length"/>.</summary>
    public void Truncate(long length)
    {
        foreach (var layer in _layers)
            layer.Truncate(length);
    }

    public void Dispose()
    {
        foreach (var layer in _layers)
            layer.Dispose();
    }
}

/// <summary>One layer's keys and values.</summary>
public sealed class LayerCache : IDisposable
{
    private const long SmallestGrowth = 64;
    private Tensor? _keys; // [B, G, capacity, D]
    private Tensor? _values;

    public long Length { get; private set; }

    /// <param name="key">[B, G, L, D].</param>
    /// <param name="value">[B, G, L, D].</param>
    /// <returns>Keys and values of all tokens so far, [B, G, T, D]: views, valid until the next call.</returns>
    public (Tensor Keys, Tensor Values) Append(Tensor key, Tensor value)
    {
        ArgumentNullException.ThrowIfNull(key);
        var added = key.shape[2];
        Reserve(key, Length + added);
        using (var place = _keys!.narrow(2, Length, added))
            place.copy_(key).Dispose();
        using (var place = _values!.narrow(2, Length, added))
            place.copy_(value).Dispose();
        Length += added;
        return (_keys.narrow(2, 0, Length), _values.narrow(2, 0, Length));
    }

    public void Dispose()
    {
        _keys?.Dispose();
        _values?.Dispose();
        (_keys, _values, Length) = (null, null, 0);
    }

    internal LayerCache Fork(long batchSize, long additionalTokens)
    {
        var fork = new LayerCache();
        if (_keys is not null && _values is not null)
        {
            if (_keys.shape[0] != 1 && _keys.shape[0] != batchSize)
                throw new ArgumentException($"a cache of {_keys.shape[0]} rows cannot be continued by {batchSize}", nameof(batchSize));
            using var scope = NewDisposeScope();
            fork.Grow(_keys, batchSize, Length + additionalTokens);
            fork.CopyFrom(_keys, _values, Length);
        }

        return fork;
    }

    internal void Truncate(long length)
    {
        if (length < 0 || length > Length)
            throw new ArgumentOutOfRangeException(nameof(length), length, $"the cache holds {Length} tokens");
        Length = length;
    }

    private void Reserve(Tensor like, long length)
    {
        if (_keys is not null && _keys.shape[0] != like.shape[0])
            throw new ArgumentException($"the cache has {_keys.shape[0]} rows, the new keys {like.shape[0]}", nameof(like));
        if (_keys is not null && length <= _keys.shape[2])
            return;
        using var scope = NewDisposeScope();
        var (keys, values, held) = (_keys, _values, Length);
        // A first fill takes what it needs; what grows after that is a conversation, token by token.
        Grow(like, like.shape[0], held == 0 ? length : Math.Max(length, held + Math.Max(held, SmallestGrowth)));
        if (keys is not null && values is not null)
        {
            CopyFrom(keys, values, held);
            keys.Dispose();
            values.Dispose();
        }
    }

    private void Grow(Tensor like, long batchSize, long capacity)
    {
        long[] shape = [batchSize, like.shape[1], capacity, like.shape[3]];
        _keys = empty(shape, dtype: like.dtype, device: like.device).DetachFromDisposeScope();
        _values = empty(shape, dtype: like.dtype, device: like.device).DetachFromDisposeScope();
    }

    private void CopyFrom(Tensor keys, Tensor values, long length)
    {
        _keys!.narrow(2, 0, length).copy_(keys.narrow(2, 0, length));
        _values!.narrow(2, 0, length).copy_(values.narrow(2, 0, length));
        Length = length;
    }
}
