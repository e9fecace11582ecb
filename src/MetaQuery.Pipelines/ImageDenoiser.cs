using MetaQuery.Imaging;
using MetaQuery.Sampling;
using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Pipelines;

/// <summary>One picture to make.</summary>
/// <param name="Condition">[N, D] in bfloat16, little-endian, as <see cref="ConditionEncoder"/> gives it.</param>
/// <param name="NegativeCondition">That of the negative prompt, usually the empty one; not read if the row is not guided.</param>
/// <param name="GuidanceScale">g of u + g (c − u); 1 or less means no guidance.</param>
/// <param name="Seed">The image's own: its noise is a function of it alone.</param>
public sealed record ImageRow(ReadOnlyMemory<byte> Condition, ReadOnlyMemory<byte> NegativeCondition, float GuidanceScale, ulong Seed)
{
    /// <summary>That of the prompt's pictures with the empty caption; <see cref="NegativeCondition"/> is then that of black pictures
    /// (<see cref="ConditionPrompt.GuidanceBranches"/>). Empty: the prompt has no pictures.</summary>
    public ReadOnlyMemory<byte> ImageCondition { get; init; }

    /// <summary>gi of u + gi (ui − u) + g (c − ui); 1 or less means that the pictures are not guided by.</summary>
    public float ImageGuidanceScale { get; init; } = 1;

    internal bool IsImageGuided => ImageGuidanceScale > 1 && !ImageCondition.IsEmpty;

    internal bool IsGuided => GuidanceScale > 1 || IsImageGuided;
}

/// <summary>Rows that share size and steps; prompts may differ from row to row.</summary>
/// <param name="HeightPixels">Of every picture.</param>
/// <param name="WidthPixels">Of every picture.</param>
/// <param name="NumInferenceSteps">Denoising steps.</param>
/// <param name="BatchSize">The job's one batch shape; fewer rows are padded where that changes a bit.</param>
/// <param name="Rows">1 to <paramref name="BatchSize"/>.</param>
public sealed record ImageBatch(int HeightPixels, int WidthPixels, int NumInferenceSteps, int BatchSize, IReadOnlyList<ImageRow> Rows)
{
    /// <summary>Computes three branches even where no row is guided by its pictures: on an accelerator the batch's shape is part of a row's last bits, and
    /// should be one for all batches of a job that has such rows.</summary>
    public bool ThreeBranches { get; init; }
}

/// <summary>Settings of one slot.</summary>
/// <param name="Threads">Of the fused kernels.</param>
/// <param name="ContextCacheBytes">Prepared conditions kept between batches.</param>
public sealed record ImageDenoiserOptions(int Threads = 1, long ContextCacheBytes = 256L << 20);

/// <summary>
/// Conditions and seeds to pictures. A picture is a function of the model, its row, size, steps and numerics, bit for bit: the same
/// alone, in any batch, at any position. One instance per slot, over a shared <see cref="ImageModel"/>; one thread at a time.
/// </summary>
public sealed class ImageDenoiser : IDisposable
{
    private readonly ImageModel model;
    private readonly IVelocityModel velocity;
    private readonly LatentDecoder decoder;
    private readonly ContextCache contexts;

    public ImageDenoiser(ImageModel model, ImageDenoiserOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(model);
        options ??= new ImageDenoiserOptions();
        this.model = model;
        velocity = model.CreateVelocityModel(options.Threads);
        decoder = model.CreateDecoder(options.Threads);
        contexts = new ContextCache(options.ContextCacheBytes);
    }

    /// <summary>Conditions whose keys and values were computed so far.</summary>
    public long PreparedConditions => contexts.Misses;

    /// <summary>Makes the pictures of a batch.</summary>
    /// <param name="batch">Rows may belong to different prompts.</param>
    /// <param name="progress">Told after each step how many of how many are done, and that all are before each picture, or tile of one, is decoded.</param>
    /// <param name="cancellationToken">Looked at before every step and before each picture, or tile of one, is decoded.</param>
    /// <returns>One picture per row, in order.</returns>
    /// <exception cref="PipelineException">A size, number of steps, condition or guidance scale cannot be used.</exception>
    /// <exception cref="OperationCanceledException">Within one step, or one picture's decoding, after the token fires.</exception>
    public IReadOnlyList<RgbImage> Denoise(ImageBatch batch, Action<int, int>? progress = null, CancellationToken cancellationToken = default)
    {
        Check(batch);
        contexts.Trim();
        using var inference = inference_mode();
        using var scope = NewDisposeScope();
        // Padding repeats the last row. On the CPU each row is computed alone, and needs none.
        var rows = new List<ImageRow>(batch.Rows);
        while (!model.RowsAreIndependent && rows.Count < batch.BatchSize)
        {
            rows.Add(rows[^1]);
        }

        var ratio = model.PixelsPerLatent;
        var seeds = rows.Select(row => row.Seed).ToArray();
        Tensor Noise(uint sample) => CounterNoise.Latents(
            seeds, model.LatentChannels, batch.HeightPixels / ratio, batch.WidthPixels / ratio, sample);
        var guided = Branches(rows, batch.ThreeBranches);
        using var run = model.Scheduler.Begin(batch.NumInferenceSteps);
        var latents = SamplingLoop.Run(
            velocity, run, Noise(0), guided, step => Noise((uint)step + 1), model.TimestepScale,
            step => progress?.Invoke(step.Index + 1, batch.NumInferenceSteps), cancellationToken);
        return ToImages(decoder.Decode(latents, BeforeEach).narrow(0, 0, batch.Rows.Count));

        void BeforeEach()
        {
            cancellationToken.ThrowIfCancellationRequested();
            progress?.Invoke(batch.NumInferenceSteps, batch.NumInferenceSteps);
        }
    }

    public void Dispose()
    {
        contexts.Dispose();
        velocity.Dispose();
        decoder.Dispose();
    }

    /// <summary>Decoded pixels to bytes: x / 2 + 0.5, clamped to [0, 1], × 255, rounded half to even, each in float32.</summary>
    /// <param name="decoded">[B, 3, height, width], the autoencoder's output.</param>
    /// <exception cref="PipelineException">A value is infinite or not a number: it would become an arbitrary byte.</exception>
    public static IReadOnlyList<RgbImage> ToImages(Tensor decoded)
    {
        using var scope = NewDisposeScope();
        var values = System.Runtime.InteropServices.MemoryMarshal.Cast<byte, float>(decoded.to(ScalarType.Float32).cpu().contiguous().bytes);
        var (height, width) = ((int)decoded.shape[2], (int)decoded.shape[3]);
        var plane = height * width;
        var images = new RgbImage[decoded.shape[0]];
        for (var i = 0; i < images.Length; i++)
        {
            var pixels = new byte[plane * 3];
            for (var channel = 0; channel < 3; channel++)
            {
                var from = values.Slice(((i * 3) + channel) * plane, plane);
                for (var p = 0; p < plane; p++)
                {
                    if (!float.IsFinite(from[p]))
                    {
                        throw new PipelineException($"picture {i + 1} of {images.Length}: the decoder gave {from[p]} at pixel {p}; expected finite values");
                    }

                    pixels[(p * 3) + channel] = (byte)MathF.Round(Math.Clamp((from[p] / 2) + 0.5f, 0f, 1f) * 255f);
                }
            }

            images[i] = new RgbImage(width, height, pixels);
        }

        return images;
    }

    private GuidedContexts Branches(List<ImageRow> rows, bool three)
    {
        three |= rows.Exists(row => row.IsImageGuided);
        // The negative condition comes last, so that it is the newest in the cache and outlives the prompts that share it.
        List<VelocityContext> conditional = [.. rows.Select(row => ContextOf(row.Condition))];
        List<VelocityContext>? images = three
            ? [.. rows.Select(row => ContextOf(row.IsImageGuided ? row.ImageCondition : row.IsGuided ? row.NegativeCondition : row.Condition))]
            : null;
        List<VelocityContext>? negative = three || rows.Exists(row => row.IsGuided)
            ? [.. rows.Select(row => ContextOf(row.IsGuided ? row.NegativeCondition : row.Condition))]
            : null;
        // A row without pictures has the negative branch for theirs, from which nothing comes: u + gi 0 + g (c − u).
        return new GuidedContexts(
            negative, images, conditional, [.. rows.Select(row => row.GuidanceScale)],
            three ? [.. rows.Select(row => row.IsImageGuided ? row.ImageGuidanceScale : 1)] : null,
            Unguided: [.. rows.Select(row => !row.IsGuided)]);
    }

    private VelocityContext ContextOf(ReadOnlyMemory<byte> condition) => contexts.GetOrAdd(condition.Span, () =>
    {
        var channels = model.ConditionChannels;
        var values = new float[condition.Length / sizeof(ushort)];
        for (var i = 0; i < values.Length; i++)
        {
            var bits = System.Buffers.Binary.BinaryPrimitives.ReadUInt16LittleEndian(condition.Span[(i * sizeof(ushort))..]);
            values[i] = BitConverter.UInt32BitsToSingle((uint)bits << 16);
        }

        var tokens = values.Length / channels;
        while (model.HasVariableConditions && tokens > 1 && !values.AsSpan((tokens - 1) * channels, channels).ContainsAnyExcept(0f))
        {
            tokens--;
        }

        return velocity.Prepare(values.AsSpan(0, tokens * channels), tokens);
    });

    private void Check(ImageBatch batch)
    {
        ArgumentNullException.ThrowIfNull(batch);
        model.CheckSize(batch.HeightPixels, batch.WidthPixels);
        if (batch.NumInferenceSteps < 1 || batch.NumInferenceSteps > model.Scheduler.NumTrainTimesteps)
        {
            throw new PipelineException($"{batch.NumInferenceSteps} steps: expected 1 to {model.Scheduler.NumTrainTimesteps}");
        }

        if (batch.Rows.Count < 1 || batch.Rows.Count > batch.BatchSize)
        {
            throw new PipelineException($"a batch of {batch.Rows.Count} rows: expected 1 to {batch.BatchSize}");
        }

        var tokenBytes = model.ConditionChannels * sizeof(ushort);
        foreach (var row in batch.Rows)
        {
            foreach (var scale in new[] { row.GuidanceScale, row.ImageGuidanceScale })
            {
                if (!float.IsFinite(scale))
                {
                    throw new PipelineException($"a guidance scale of {scale}: expected a finite number");
                }
            }

            var read = row.IsImageGuided ? [row.Condition, row.NegativeCondition, row.ImageCondition]
                : row.IsGuided ? [row.Condition, row.NegativeCondition]
                : new[] { row.Condition };
            foreach (var condition in read)
            {
                if (condition.Length == 0 || condition.Length % tokenBytes != 0)
                {
                    throw new PipelineException($"a condition of {condition.Length} bytes: expected a multiple of {tokenBytes}, one token of bfloat16");
                }
            }
        }
    }
}
