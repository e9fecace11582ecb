namespace MetaQuery.Kernels;

/// <summary>What a transformer over token sequences needs beside products and norms: attention behind a cache, and the gated activation
/// (native/attention.cpp and kernels.cpp). On plain pointers; nothing here checks bounds. A sequence's result depends on itself and the cache alone.</summary>
public static unsafe class SequenceKernels
{
    /// <summary>A cache's capacity is a multiple of this.</summary>
    public const int CapacityStep = 32;

    static readonly delegate* unmanaged<float*, float*, float*, int, float*, float*, float*, float*, nint, nint, int, int, long*, nint, void*, int, nint, nint, nint, float, int, void> AttentionEntry =
        (delegate* unmanaged<float*, float*, float*, int, float*, float*, float*, float*, nint, nint, int, int, long*, nint, void*, int, nint, nint, nint, float, int, void>)KernelLibrary.Address("sequence_attention");

    static readonly delegate* unmanaged<void*, int, void*, nint, nint, int, void> SwiGluEntry =
        (delegate* unmanaged<void*, int, void*, nint, nint, int, void>)KernelLibrary.Address("swiglu");

    /// <summary>Rotates queries and keys, then softmax(scale · q kᵀ) v per sequence, over the cached tokens and its own.</summary>
    /// <param name="qkv">[tokens, (heads + 2 · groups) · headSize]: queries, keys, values.</param>
    /// <param name="tokens">Which tokens belong together, and what they see.</param>
    /// <param name="angles">Of all positions that occur, or of the tokens; null pointers where nothing is rotated.</param>
    /// <param name="cache">The tokens before; null pointers where there are none.</param>
    /// <param name="shape">Heads and their norms.</param>
    /// <param name="output">[tokens, heads · headSize] of <paramref name="type"/>.</param>
    /// <param name="type">The output's.</param>
    /// <param name="threads">OpenMP threads, the caller's included.</param>
    public static void Attention(
        float* qkv, in SequenceTokens tokens, in RotaryAngles angles, in CachedTokens cache, in HeadShape shape, void* output, KernelType type, int threads) =>
        AttentionEntry(
            qkv, angles.Cosines, angles.Sines, angles.PerToken ? 1 : 0, shape.QueryGamma, shape.KeyGamma, cache.Keys, cache.Values, (nint)cache.Capacity, (nint)cache.Count,
            cache.Append ? 1 : 0, tokens.Causal ? 1 : 0, tokens.Offsets, (nint)tokens.Sequences, output, (int)type, (nint)shape.Heads, (nint)shape.Groups,
            (nint)shape.HeadSize, shape.Scale, threads);

    /// <summary>gateUp [tokens, 2 · channels], the gate first, to SiLU(gate) · up [tokens, channels].</summary>
    public static void SwiGlu(void* gateUp, KernelType type, void* output, long tokens, long channels, int threads) =>
        SwiGluEntry(gateUp, (int)type, output, (nint)tokens, (nint)channels, threads);
}

/// <summary>Sequence i is the tokens Offsets[i] to Offsets[i + 1].</summary>
public readonly unsafe struct SequenceTokens
{
    public long* Offsets { get; init; }

    public long Sequences { get; init; }

    /// <summary>A token sees those before it and itself, instead of its whole sequence.</summary>
    public bool Causal { get; init; }
}

/// <summary>[positions, headSize / 2] each, or [tokens, headSize / 2].</summary>
public readonly unsafe struct RotaryAngles
{
    public float* Cosines { get; init; }

    public float* Sines { get; init; }

    /// <summary>A row belongs to a token of the stream, whatever its position, instead of to a position.</summary>
    public bool PerToken { get; init; }
}

/// <summary>Rotated keys and values of the tokens before.</summary>
public readonly unsafe struct CachedTokens
{
    /// <summary>[groups, headSize, capacity].</summary>
    public float* Keys { get; init; }

    /// <summary>[groups, capacity, headSize].</summary>
    public float* Values { get; init; }

    /// <summary>A multiple of <see cref="SequenceKernels.CapacityStep"/>.</summary>
    public long Capacity { get; init; }

    /// <summary>How many there are; every sequence sees them.</summary>
    public long Count { get; init; }

    /// <summary>Adds the one sequence's tokens to them.</summary>
    public bool Append { get; init; }
}

/// <summary>Query heads, key heads that they share, and norms behind the rotation.</summary>
public readonly unsafe struct HeadShape
{
    public long Heads { get; init; }

    public long Groups { get; init; }

    public long HeadSize { get; init; }

    /// <summary>Usually 1 / √headSize.</summary>
    public float Scale { get; init; }

    /// <summary>[heads, headSize]: a rotated query becomes q / |q| · gamma; null leaves it.</summary>
    public float* QueryGamma { get; init; }

    /// <summary>[groups, headSize], as <see cref="QueryGamma"/>.</summary>
    public float* KeyGamma { get; init; }
}
