using MetaQuery.Data;

namespace MetaQuery.Farm;

/// <summary>A prompt with images still to make.</summary>
/// <param name="Line">The prompt and what it says for itself.</param>
/// <param name="Settings">Steps, guidance and negative prompt as they hold for this line.</param>
/// <param name="Samples">Sample indices to make, ascending.</param>
public sealed record PlannedPrompt(PromptLine Line, LineSettings Settings, IReadOnlyList<int> Samples);

/// <summary>A line's own settings over the job's.</summary>
public readonly record struct LineSettings(int NumInferenceSteps, float GuidanceScale, string NegativePrompt)
{
    /// <summary>Without guidance the negative prompt is not used.</summary>
    public bool IsGuided => GuidanceScale > 1;
}

/// <summary>A prompt's conditions.</summary>
/// <param name="Condition">Of the prompt.</param>
/// <param name="Negative">Of the negative prompt; empty without guidance.</param>
public readonly record struct PromptConditions(ReadOnlyMemory<byte> Condition, ReadOnlyMemory<byte> Negative);

/// <summary>One image to make, ready to be denoised.</summary>
/// <param name="Position">Place of the sample in the whole job: prompt index × images per prompt + sample index.</param>
/// <param name="Prompt">Its prompt.</param>
/// <param name="SampleIndex">Which of the prompt's images.</param>
/// <param name="Seed">The image's own seed.</param>
/// <param name="Conditions">What the encoder made.</param>
/// <param name="Failures">Errors so far.</param>
public sealed record PlannedImage(
    long Position, PlannedPrompt Prompt, int SampleIndex, ulong Seed, PromptConditions Conditions, int Failures);

/// <summary>What the coordinator hands to a slot.</summary>
public abstract record FarmTask;

/// <summary>Prompts to find or make the conditions of.</summary>
/// <param name="Prompts">The prompts.</param>
/// <param name="Failures">Errors so far of the one prompt, where it is alone after an error.</param>
public sealed record EncodeTask(IReadOnlyList<PlannedPrompt> Prompts, int Failures) : FarmTask;

/// <summary>Images to denoise in one batch: same steps, all guided or none.</summary>
public sealed record DenoiseTask(int NumInferenceSteps, bool IsGuided, IReadOnlyList<PlannedImage> Images) : FarmTask;

/// <summary>An image that was given up.</summary>
public sealed record AbandonedImage(long Position, PromptLine Prompt, int SampleIndex, string Reason);

/// <summary>How far ahead a coordinator works, in images; what it holds in memory follows from these.</summary>
/// <param name="BatchSize">Rows of a denoising batch.</param>
/// <param name="EncodeBatchSize">Prompts of an encoder call.</param>
/// <param name="ReadyImages">Encode while fewer images than this are ready to be denoised.</param>
/// <param name="PromptsAhead">Prompts read but not yet encoded, at most.</param>
/// <param name="HoldPrompts">An image that waits for its batch to fill is denoised in a padded batch when the reader is this many prompts past it.</param>
public sealed record CoordinatorLimits(int BatchSize, int EncodeBatchSize, int ReadyImages, int PromptsAhead, int HoldPrompts)
{
    /// <summary>Errors after which an image or a prompt is given up.</summary>
    public const int MaxFailures = 3;

    /// <summary>One batch in work and one ready per slot.</summary>
    public static CoordinatorLimits For(int slots, int batchSize, int encodeBatchSize) =>
        new(batchSize, encodeBatchSize, slots * batchSize * 2, encodeBatchSize * 2, 16 * slots * Math.Max(batchSize, encodeBatchSize));
}
