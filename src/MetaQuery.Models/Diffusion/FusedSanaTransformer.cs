using MetaQuery.Kernels;
using MetaQuery.Models.Checkpoints;
using MetaQuery.Models.Layers;
using MetaQuery.Models.Mllm;
using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Models.Diffusion;

/// <summary>
/// <see cref="SanaTransformer2DModel"/>'s function for inference on a CPU, over packed weights and plain buffers: a few rows go
/// through the whole network while their activations stay in the cache. Immutable: any number of threads may use one, each with
/// a workspace of its own.
/// <para>Each row is computed alone, so a row's velocity is the same bits whatever else is in the batch and whatever the batch size.</para>
/// </summary>
public sealed unsafe class FusedSanaTransformer : IDisposable
{
    private const float CaptionNormEpsilon = 1e-5f; // caption_norm, diffusers 0.33
    private const float OutputNormEpsilon = 1e-6f; // norm_out, diffusers 0.33

    private readonly PackedWeights patchEmbed;
    private readonly PackedWeights[] timestepEmbedder;
    private readonly PackedWeights[] guidanceEmbedder;
    private readonly PackedWeights modulation;
    private readonly PackedWeights caption1;
    private readonly PackedWeights caption2;
    private readonly NativeBuffer captionNorm;
    private readonly FusedSanaBlock[] blocks;
    private readonly float[] outputTable;
    private readonly PackedWeights projectOut;

    private FusedSanaTransformer(WeightSource source, SanaTransformerConfig config, FusedPrecision precision, KernelFeatures features)
    {
        Config = config;
        Precision = precision;
        Features = precision == FusedPrecision.BFloat16 ? features : KernelFeatures.None;
        var type = precision == FusedPrecision.BFloat16 ? KernelType.BFloat16 : KernelType.Float32;
        var (width, patch) = (config.Width, (long)config.PatchSize * config.PatchSize);

        // What is computed once per step or per condition stays float32.
        PackedWeights[] Pack(params (string Name, long Outputs, long Inputs)[] layers)
        {
            using var scope = new LoadingScope(source);
            return [.. layers.Select(layer => new PackedWeights(
                scope.Parameters.LoadStored($"{layer.Name}.weight", layer.Outputs, layer.Inputs), scope.Parameters.Load($"{layer.Name}.bias", layer.Outputs),
                KernelType.Float32, KernelFeatures.None))];
        }

        PackedWeights[] Embedder(string name) => Pack(($"{name}.linear_1", width, SineEmbedding.TimestepChannels), ($"{name}.linear_2", width, width));
        // With guidance embeddings the checkpoint has no "emb" level.
        timestepEmbedder = Embedder(config.GuidanceEmbeds ? "time_embed.timestep_embedder" : "time_embed.emb.timestep_embedder");
        guidanceEmbedder = config.GuidanceEmbeds ? Embedder("time_embed.guidance_embedder") : [];
        modulation = Pack(("time_embed.linear", 6 * width, width))[0];
        (caption1, caption2) = Pack(("caption_projection.linear_1", width, config.CaptionChannels), ("caption_projection.linear_2", width, width)) is var pair
            ? (pair[0], pair[1]) : default;
        projectOut = Pack(("proj_out", patch * config.OutChannels, width))[0];
        using (var scope = new LoadingScope(source))
        {
            patchEmbed = new PackedWeights(
                scope.Parameters.Load("patch_embed.proj.weight", width, config.InChannels, config.PatchSize, config.PatchSize),
                scope.Parameters.Load("patch_embed.proj.bias", width), KernelType.Float32, KernelFeatures.None);
            captionNorm = PackedWeights.Floats(scope.Parameters.Load("caption_norm.weight", width));
            outputTable = scope.Parameters.Load("scale_shift_table", 2, width).data<float>().ToArray();
        }

        blocks = PackedLayers.LoadAll([.. Enumerable.Range(0, config.NumLayers).Select(i => source.WithPrefix($"transformer_blocks.{i}."))], part =>
        {
            // A block's own weights are given back as soon as they are packed.
            using var scope = new LoadingScope(part);
            return new FusedSanaBlock(scope.Parameters, config, type, Features);
        });
    }

    public SanaTransformerConfig Config { get; }

    public FusedPrecision Precision { get; }

    /// <summary>What bfloat16 products use: part of the numerics fingerprint.</summary>
    public KernelFeatures Features { get; }

    /// <summary>Why this CPU cannot run a model of this shape here, or null.</summary>
    public static string? WhyUnsupported(SanaTransformerConfig config, FusedPrecision precision) =>
        precision.WhyUnsupported()
        ?? (config.InterpolationScale is not null && config.Width % 4 != 0 ? $"positions need a width divisible by 4, it is {config.Width}"
        : null);

    /// <param name="source">diffusion_pytorch_model.safetensors of a transformer folder.</param>
    /// <param name="config">Its config.json.</param>
    /// <param name="precision">Of the matrix products.</param>
    /// <exception cref="CheckpointException">A tensor is missing or has another shape.</exception>
    /// <exception cref="NotSupportedException"><see cref="WhyUnsupported"/> has a reason.</exception>
    public static FusedSanaTransformer Load(WeightSource source, SanaTransformerConfig config, FusedPrecision precision) =>
        WhyUnsupported(config, precision) is { } reason
            ? throw new NotSupportedException(reason)
            : new FusedSanaTransformer(source, config, precision, RawKernels.Features);

    /// <summary>Everything the blocks need of one condition, which no step changes.</summary>
    /// <param name="condition">[tokens, caption channels].</param>
    /// <param name="tokens">At least 1.</param>
    /// <param name="threads">Of the kernels; the result does not depend on it.</param>
    /// <returns>The caller disposes of it.</returns>
    public FusedSanaContext Prepare(ReadOnlySpan<float> condition, int tokens, int threads = 1)
    {
        if (tokens < 1 || condition.Length != (long)tokens * Config.CaptionChannels)
        {
            throw new ArgumentException($"a condition of {condition.Length} values is not {tokens} tokens of {Config.CaptionChannels} channels", nameof(condition));
        }

        var context = new FusedSanaContext(Config, tokens);
        using var hidden = new NativeBuffer((long)tokens * Config.Width * sizeof(float));
        using var projected = new NativeBuffer((long)tokens * Config.Width * sizeof(float));
        fixed (float* source = condition)
        {
            caption1.Multiply(source, tokens, new MatmulTarget { Output = hidden.Pointer, Activation = KernelActivation.TanhGelu }, threads);
        }

        caption2.Multiply(hidden.Pointer, tokens, new MatmulTarget { Output = projected.Pointer }, threads);
        RawKernels.RmsNorm(
            projected.Pointer, KernelType.Float32, captionNorm.Floats, null, projected.Pointer, KernelType.Float32, tokens, Config.Width,
            CaptionNormEpsilon, KernelActivation.None, threads);
        for (var i = 0; i < blocks.Length; i++)
        {
            blocks[i].Project(projected.Floats, context, i, threads);
        }

        return context;
    }

    /// <summary>The velocity of a batch. Row r reads latents r modulo <paramref name="latentRows"/>, so that guidance's branches share them.</summary>
    /// <param name="latents">[latentRows, in channels, height, width].</param>
    /// <param name="latentRows">A divisor of the number of contexts.</param>
    /// <param name="height">Of the latents; a multiple of the patch size.</param>
    /// <param name="width">Of the latents; a multiple of the patch size.</param>
    /// <param name="timesteps">One for all rows, or one per row.</param>
    /// <param name="contexts">One per row.</param>
    /// <param name="velocity">Receives [rows, out channels, height, width].</param>
    /// <param name="workspace">Not in use by another thread.</param>
    /// <param name="guidance">As many as timesteps, already times guidance_embeds_scale; only and always for a model with guidance embeddings.</param>
    /// <exception cref="ArgumentException">Sizes disagree.</exception>
    public void Forward(
        ReadOnlySpan<float> latents, int latentRows, int height, int width, ReadOnlySpan<float> timesteps, IReadOnlyList<FusedSanaContext> contexts,
        Span<float> velocity, FusedSanaWorkspace workspace, ReadOnlySpan<float> guidance = default)
    {
        var rows = contexts.Count;
        var patch = Config.PatchSize;
        SanaShapes.Check(Config, [timesteps.Length, Config.InChannels, height, width], timesteps.Length, guidance.Length);
        if (latentRows < 1 || rows % latentRows != 0 || (timesteps.Length != 1 && timesteps.Length != rows)
            || latents.Length != (long)latentRows * Config.InChannels * height * width || velocity.Length != (long)rows * Config.OutChannels * height * width)
        {
            throw new ArgumentException(
                $"{latents.Length} latents in {latentRows} rows, {timesteps.Length} timesteps, {rows} contexts and {velocity.Length} velocities do not fit one another", nameof(latents));
        }

        var (gridHeight, gridWidth) = (height / patch, width / patch);
        var tokens = gridHeight * gridWidth;
        var chunkRows = workspace.ChunkRows(rows, tokens);
        workspace.Reserve(Config, chunkRows, tokens, timesteps.Length);
        EmbedTimesteps(timesteps, guidance, workspace);
        var positions = workspace.Positions(Config, gridHeight, gridWidth);
        var all = contexts.ToArray();
        var stride = timesteps.Length == 1 ? 0 : 6L * Config.Width;
        var perBlock = 6L * Config.Width * timesteps.Length;
        for (var first = 0; first < rows; first += chunkRows)
        {
            var chunk = all.AsSpan(first, Math.Min(chunkRows, rows - first));
            EmbedPatches(latents, latentRows, first, chunk.Length, gridHeight, gridWidth, positions, workspace);
            for (var i = 0; i < blocks.Length; i++)
            {
                blocks[i].Forward(workspace, i, workspace.Modulations + (i * perBlock) + (first * stride), stride, chunk, gridHeight, gridWidth);
            }

            var shiftAndScale = workspace.Modulations + (blocks.Length * perBlock) + (first * stride);
            RawKernels.LayerNormModulate(
                workspace.Stream, shiftAndScale, shiftAndScale + Config.Width, stride, workspace.Normed, KernelType.Float32, chunk.Length, tokens,
                Config.Width, OutputNormEpsilon, workspace.Threads);
            projectOut.Multiply(workspace.Normed, (long)chunk.Length * tokens, new MatmulTarget { Output = workspace.Wide }, workspace.Threads);
            var perRow = Config.OutChannels * height * width;
            FusedSanaPatches.Scatter((float*)workspace.Wide, velocity.Slice(first * perRow, chunk.Length * perRow), chunk.Length, Config, gridHeight, gridWidth);
        }

        GC.KeepAlive(all);
    }

    public void Dispose()
    {
        foreach (var weights in timestepEmbedder.Concat(guidanceEmbedder).Concat([patchEmbed, modulation, caption1, caption2, projectOut]))
        {
            weights.Dispose();
        }

        captionNorm.Dispose();
        foreach (var block in blocks)
        {
            block.Dispose();
        }
    }

    private void EmbedTimesteps(ReadOnlySpan<float> timesteps, ReadOnlySpan<float> guidance, FusedSanaWorkspace workspace)
    {
        var (count, width, threads) = (timesteps.Length, Config.Width, workspace.Threads);
        var table = workspace.Timesteps;
        var hidden = table + (count * SineEmbedding.TimestepChannels);
        var embedding = hidden + ((long)count * width);
        var six = embedding + ((long)count * width);
        void Embed(ReadOnlySpan<float> values, PackedWeights[] layers, bool add)
        {
            SineEmbedding.OfTimesteps(values).CopyTo(new Span<float>(table, count * SineEmbedding.TimestepChannels));
            layers[0].Multiply(table, count, new MatmulTarget { Output = hidden, Activation = KernelActivation.Silu }, threads);
            layers[1].Multiply(hidden, count, new MatmulTarget { Output = embedding, Residual = add }, threads);
        }

        Embed(timesteps, timestepEmbedder, add: false);
        if (guidanceEmbedder.Length > 0)
        {
            Embed(guidance, guidanceEmbedder, add: true);
        }

        for (var i = 0; i < count * width; i++)
        {
            hidden[i] = embedding[i] / (1 + MathF.Exp(-embedding[i]));
        }

        modulation.Multiply(hidden, count, new MatmulTarget { Output = six }, threads);
        for (var i = 0; i < count; i++)
        {
            var row = new ReadOnlySpan<float>(six + (6L * i * width), 6 * width);
            for (var block = 0; block <= blocks.Length; block++)
            {
                var target = new Span<float>(workspace.Modulations + ((((long)block * count) + i) * 6 * width), 6 * width);
                if (block < blocks.Length)
                {
                    blocks[block].Modulate(row, target);
                    continue;
                }

                // norm_out is modulated by the embedding itself, shift first
                var own = new ReadOnlySpan<float>(embedding + ((long)i * width), width);
                System.Numerics.Tensors.TensorPrimitives.Add(own, outputTable.AsSpan(0, width), target[..width]);
                System.Numerics.Tensors.TensorPrimitives.Add(own, outputTable.AsSpan(width), target.Slice(width, width));
            }
        }
    }

    private void EmbedPatches(
        ReadOnlySpan<float> latents, int latentRows, int first, int rows, int gridHeight, int gridWidth, float* positions, FusedSanaWorkspace workspace)
    {
        FusedSanaPatches.Gather(latents, latentRows, first, rows, Config, gridHeight, gridWidth, (float*)workspace.Normed);
        var perRow = (long)gridHeight * gridWidth * Config.Width;
        for (var row = 0; positions is not null && row < rows; row++)
        {
            Buffer.MemoryCopy(positions, workspace.Stream + (row * perRow), perRow * sizeof(float), perRow * sizeof(float));
        }

        patchEmbed.Multiply(
            workspace.Normed, (long)rows * gridHeight * gridWidth, new MatmulTarget { Output = workspace.Stream, Residual = positions is not null }, workspace.Threads);
    }

    /// <summary>Parameters read as float32 for packing, and given back at once.</summary>
    private sealed class LoadingScope(WeightSource source) : IDisposable
    {
        public ParameterScope Parameters { get; } = ParameterScope.Root(source, ScalarType.Float32);

        public void Dispose() => Parameters.DisposeLoaded();
    }
}
