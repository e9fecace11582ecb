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

/// <summary>An image that was given up.</summary>
public sealed record AbandonedImage(long Position, PromptLine Prompt, int SampleIndex, string Reason);
