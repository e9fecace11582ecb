using MetaQuery.Kernels;

namespace MetaQuery.Models.Mllm;

/// <summary>Rotated keys and values of the tokens that packed layers have seen. Reading it from several threads at once is safe, appending is not.</summary>
public sealed unsafe class PackedCache : IDisposable
{
    private readonly Layer[] _layers;
    private readonly long _groups;
    private readonly long _headSize;

    internal PackedCache(int numLayers, long groups, long headSize)
    {
        (_groups, _headSize) = (groups, headSize);
        _layers = [.. Enumerable.Range(0, numLayers).Select(_ => new Layer())];
    }

    /// <summary>Tokens held.</summary>
    public long Length { get; private set; }

    private long Capacity { get; set; }

    /// <summary>Forgets all tokens after the first <paramref name="length"/>.</summary>
    public void Truncate(long length)
    {
        if (length < 0 || length > Length)
            throw new ArgumentOutOfRangeException(nameof(length), length, $"the cache holds {Length} tokens");
        Length = length;
    }

    public void Dispose()
    {
        foreach (var layer in _layers)
        {
            layer.Keys?.Dispose();
            layer.Values?.Dispose();
        }

        (Length, Capacity) = (0, 0);
    }

    internal CachedTokens At(int layer, bool append) => new()
    {
        Keys = _layers[layer].Keys is { } keys ? keys.Floats : null,
        Values = _layers[layer].Values is { } values ? values.Floats : null,
        Capacity = Capacity,
        Count = Length,
        Append = append,
    };

    /// <summary>Makes room for further tokens; <see cref="Advance"/> counts them once every layer has written its own.</summary>
    internal void Reserve(long tokens)
    {
        var needed = Length + tokens;
        if (needed <= Capacity)
            return;
        // A first fill takes what it needs; what grows after that is a conversation, token by token.
        var capacity = Length == 0 ? needed : Math.Max(needed, 2 * Length);
        capacity = (capacity + SequenceKernels.CapacityStep - 1) / SequenceKernels.CapacityStep * SequenceKernels.CapacityStep;
        foreach (var layer in _layers)
        {
            var keys = new NativeBuffer(_groups * _headSize * capacity * sizeof(float));
            var values = new NativeBuffer(_groups * capacity * _headSize * sizeof(float));
            if (layer.Keys is { } oldKeys && layer.Values is { } oldValues)
            {
                CopyRows(oldKeys, keys, _groups * _headSize, Capacity, capacity, Length);
                CopyRows(oldValues, values, _groups, Capacity * _headSize, capacity * _headSize, Length * _headSize);
                oldKeys.Dispose();
                oldValues.Dispose();
            }

            (layer.Keys, layer.Values) = (keys, values);
        }

        Capacity = capacity;
    }

    internal void Advance(long tokens) => Length += tokens;

    private static void CopyRows(NativeBuffer source, NativeBuffer target, long rows, long sourceStride, long targetStride, long count)
    {
        for (long row = 0; row < rows; row++)
        {
            new ReadOnlySpan<float>(source.Floats + (row * sourceStride), checked((int)count))
                .CopyTo(new Span<float>(target.Floats + (row * targetStride), checked((int)count)));
        }
    }

    private sealed class Layer
    {
        public NativeBuffer? Keys { get; set; }

        public NativeBuffer? Values { get; set; }
    }
}
