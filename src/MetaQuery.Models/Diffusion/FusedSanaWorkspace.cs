using MetaQuery.Kernels;

namespace MetaQuery.Models.Diffusion;

/// <summary>
/// The activations of <see cref="FusedSanaTransformer"/> for a few rows at a time, sized so that they stay in the second-level cache.
/// One per thread of control; grows to the largest shape it is used with.
/// </summary>
public sealed unsafe class FusedSanaWorkspace : IDisposable
{
    private const int TokensPerChunk = 256; // measured: weights are read once per chunk, and one block of activations still fits the second-level cache

    private NativeBuffer? stream;
    private NativeBuffer? normed;
    private NativeBuffer? wide;
    private NativeBuffer? narrow;
    private NativeBuffer? modulations;
    private NativeBuffer? timesteps;
    private NativeBuffer? positions;
    private (int Height, int Width, NativeBuffer? Table) grid;

    /// <param name="threads">OpenMP threads that the kernels use, the caller's included. Results do not depend on it.</param>
    public FusedSanaWorkspace(int threads)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(threads, 1);
        Threads = threads;
    }

    public int Threads { get; }

    internal float* Stream => stream!.Floats;

    internal void* Normed => normed!.Pointer;

    internal void* Wide => wide!.Pointer;

    internal void* Narrow => narrow!.Pointer;

    /// <summary>[blocks + 1, timesteps, 6 · width]; the last is norm_out's, of which two rows are used.</summary>
    internal float* Modulations => modulations!.Floats;

    internal float* Timesteps => timesteps!.Floats;

    /// <summary>How many rows to take through the network at once.</summary>
    internal int ChunkRows(int rows, int tokens) => Math.Clamp(Threads * TokensPerChunk / tokens, 1, rows);

    internal void Reserve(SanaTransformerConfig config, int rows, int tokens, int distinctTimesteps)
    {
        var all = (long)rows * tokens;
        var hidden = (long)(config.MlpRatio * config.Width);
        var patch = (long)config.PatchSize * config.PatchSize;
        Ensure(ref stream, all * config.Width * sizeof(float));
        Ensure(ref normed, all * Math.Max(config.Width, Math.Max(config.InChannels, config.OutChannels) * patch) * sizeof(float));
        Ensure(ref wide, all * Math.Max(Math.Max(3 * config.Width, 2 * hidden), Math.Max(config.CrossWidth, patch * config.OutChannels)) * sizeof(float));
        Ensure(ref narrow, all * Math.Max(Math.Max(config.Width, hidden), config.CrossWidth) * sizeof(float));
        Ensure(ref modulations, (config.NumLayers + 1L) * distinctTimesteps * 6 * config.Width * sizeof(float));
        Ensure(ref timesteps, distinctTimesteps * (SineEmbedding.TimestepChannels + (9L * config.Width)) * sizeof(float));
    }

    /// <summary>The positions of a grid, [height · width, width of the model], or null for a model without.</summary>
    internal float* Positions(SanaTransformerConfig config, int height, int width)
    {
        if (config.InterpolationScale is not { } scale)
        {
            return null;
        }

        if (grid.Table is null || grid.Height != height || grid.Width != width)
        {
            var table = SineEmbedding.OfPatches(config.Width, height, width, config.SampleSize / config.PatchSize, scale);
            Ensure(ref positions, table.Length * (long)sizeof(float));
            table.CopyTo(new Span<float>(positions!.Floats, table.Length));
            grid = (height, width, positions);
        }

        return grid.Table!.Floats;
    }

    public void Dispose()
    {
        stream?.Dispose();
        normed?.Dispose();
        wide?.Dispose();
        narrow?.Dispose();
        modulations?.Dispose();
        timesteps?.Dispose();
        positions?.Dispose();
    }

    private static void Ensure(ref NativeBuffer? buffer, long bytes)
    {
        if (buffer is null || buffer.Bytes < bytes)
        {
            buffer?.Dispose();
            buffer = new NativeBuffer(bytes);
        }
    }
}
