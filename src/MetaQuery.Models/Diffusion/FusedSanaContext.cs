using MetaQuery.Kernels;

namespace MetaQuery.Models.Diffusion;

/// <summary>One condition as the fused kernels read it: every block's keys and values. Immutable, and usable by any thread.</summary>
public sealed unsafe class FusedSanaContext : IDisposable
{
    private readonly NativeBuffer buffer;
    private readonly long floatsPerBlock;

    internal FusedSanaContext(SanaTransformerConfig config, int tokens)
    {
        Tokens = tokens;
        floatsPerBlock = 2L * config.CrossWidth * tokens;
        buffer = new NativeBuffer(config.NumLayers * floatsPerBlock * sizeof(float));
    }

    /// <summary>Length of the condition.</summary>
    public int Tokens { get; }

    /// <summary>Memory held.</summary>
    public long Bytes => buffer.Bytes;

    /// <summary>[heads, head size, tokens].</summary>
    internal float* Keys(int block) => buffer.Floats + (block * floatsPerBlock);

    /// <summary>[heads, tokens, head size].</summary>
    internal float* Values(int block) => Keys(block) + (floatsPerBlock / 2);

    public void Dispose() => buffer.Dispose();
}
