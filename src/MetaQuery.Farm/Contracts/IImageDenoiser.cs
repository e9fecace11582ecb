using MetaQuery.Imaging;

namespace MetaQuery.Farm;

/// <summary>One picture to make.</summary>
/// <param name="Condition">What <see cref="IConditionEncoder"/> made for the prompt.</param>
/// <param name="NegativeCondition">What it made for the negative prompt (the empty one by default).</param>
/// <param name="GuidanceScale">g of u + g·(c − u); 1 or less means no guidance. Rows of one batch are all guided or all not.</param>
/// <param name="Seed">The image's own seed (<see cref="ImageSeed"/>): the noise is a function of it alone.</param>
public sealed record DenoiseRow(ReadOnlyMemory<byte> Condition, ReadOnlyMemory<byte> NegativeCondition, float GuidanceScale, ulong Seed)
{
    /// <summary>What it made for the negative prompt with the prompt's pictures, <see cref="NegativeCondition"/> being that of black ones; empty unless guided by pictures.</summary>
    public ReadOnlyMemory<byte> ImageCondition { get; init; }

    /// <summary>gi of u + gi·(ui − u) + g·(c − ui); 1 or less means that it is not guided by pictures. Rows of one batch all are or all are not.</summary>
    public float ImageGuidanceScale { get; init; }
}

/// <summary>Rows that share size, step count and schedule.</summary>
/// <param name="HeightPixels">Height of every picture.</param>
/// <param name="WidthPixels">Width of every picture.</param>
/// <param name="NumInferenceSteps">Denoising steps.</param>
/// <param name="BatchSize">The job's one batch shape: a denoiser pads fewer rows up to it.</param>
/// <param name="Rows">Between 1 and <paramref name="BatchSize"/> rows.</param>
public sealed record DenoiseBatch(
    int HeightPixels, int WidthPixels, int NumInferenceSteps, int BatchSize, IReadOnlyList<DenoiseRow> Rows)
{
    /// <summary>Whether rows have the third branch of guidance, by pictures: part of the batch's shape.</summary>
    public bool ThreeBranches { get; init; }
}

/// <summary>A picture size in pixels.</summary>
public readonly record struct ImageSize(int HeightPixels, int WidthPixels)
{
    public override string ToString() => $"{HeightPixels}x{WidthPixels}";
}

/// <summary>What a denoiser is and can do.</summary>
/// <param name="ModelRevision">Digest of the weights that turn conditions into pictures, and of the sampler's settings.</param>
/// <param name="ModelName">Name for people, such as <c>nano</c>.</param>
/// <param name="DefaultSize">The size made when none is asked for.</param>
/// <param name="SizeMultiplePixels">Height and width must be multiples of this.</param>
/// <param name="MinSizePixels">Smallest height or width.</param>
/// <param name="MaxSizePixels">Largest height or width.</param>
/// <param name="DefaultNumInferenceSteps">Steps taken when none are asked for.</param>
/// <param name="DefaultGuidanceScale">Guidance used when none is asked for.</param>
/// <param name="DefaultBatchSize">The batch that was measured to be fastest.</param>
/// <param name="Numerics">What makes two slots' results equal bit for bit.</param>
public sealed record ImageModelInfo(
    string ModelRevision, string ModelName, ImageSize DefaultSize, int SizeMultiplePixels, int MinSizePixels, int MaxSizePixels,
    int DefaultNumInferenceSteps, float DefaultGuidanceScale, int DefaultBatchSize, NumericsFingerprint Numerics);

/// <summary>The second half of the pipeline: conditions and seeds to pictures.</summary>
/// <remarks>
/// A picture is a function of its own row, of size, steps and <see cref="DenoiseBatch.BatchSize"/>: never of its neighbours,
/// its position or how many rows were padding. An instance is called by one thread at a time.
/// </remarks>
public interface IImageDenoiser
{
    ImageModelInfo Info { get; }

    /// <param name="batch">What to make.</param>
    /// <param name="progress">To be called after each step and each decoded picture: a batch that is silent for long is taken to hang. Null where nobody listens.</param>
    /// <param name="cancellationToken">Ends it.</param>
    /// <returns>One picture per row, in order.</returns>
    /// <exception cref="OperationCanceledException">Within one denoising step, or one picture's decoding, after <paramref name="cancellationToken"/> fires.</exception>
    IReadOnlyList<RgbImage> Denoise(DenoiseBatch batch, Action? progress, CancellationToken cancellationToken);
}

/// <summary>A loaded model, from which each slot takes its own encoder and denoiser over shared weights.</summary>
public interface IFarmModel
{
    /// <summary>Both halves, the one that is not loaded included: slots that share a lane must agree on all of it.</summary>
    ModelDescription Description { get; }

    /// <summary>Whether memory holds one half at a time: changing between them is dear then, and a worker encodes many prompts before it denoises.</summary>
    bool HoldsOneHalf => false;

    /// <param name="pictures">Where the pictures of prompts are; null where there are none.</param>
    /// <exception cref="InvalidOperationException">This half is not loaded.</exception>
    IConditionEncoder CreateEncoder(IPictureSource? pictures = null);

    /// <exception cref="InvalidOperationException">This half is not loaded.</exception>
    IImageDenoiser CreateDenoiser();
}
