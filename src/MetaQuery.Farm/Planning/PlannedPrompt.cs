using MetaQuery.Data;

namespace MetaQuery.Farm;

/// <summary>A prompt with images still to make.</summary>
/// <param name="Line">The prompt and what it says for itself.</param>
/// <param name="Settings">Steps, guidance and negative prompt as they hold for this line.</param>
/// <param name="Samples">Sample indices to make, ascending.</param>
public sealed record PlannedPrompt(PromptLine Line, LineSettings Settings, IReadOnlyList<int> Samples)
{
    /// <summary>Why it cannot be made, one of its pictures being unusable; null where it can.</summary>
    public string? Fault { get; init; }
}

/// <summary>A line's own settings over the job's.</summary>
public readonly record struct LineSettings(int NumInferenceSteps, float GuidanceScale, string NegativePrompt)
{
    /// <summary>gi of u + gi·(ui − u) + g·(c − ui); 0 for a line without pictures.</summary>
    public float ImageGuidanceScale { get; init; }

    /// <summary>Guided by its pictures too: three branches.</summary>
    public bool IsImageGuided => ImageGuidanceScale > 1;

    /// <summary>Without guidance the negative prompt is not used.</summary>
    public bool IsGuided => GuidanceScale > 1 || IsImageGuided;

    /// <summary>Branches of guidance that a denoiser computes: 1, 2 or 3.</summary>
    public int Branches => IsImageGuided ? 3 : IsGuided ? 2 : 1;
}

/// <summary>A prompt's conditions.</summary>
/// <param name="Condition">Of the prompt.</param>
/// <param name="Negative">Of the negative prompt; empty without guidance.</param>
/// <param name="Images">Of the negative prompt with the prompt's pictures, in whose place <paramref name="Negative"/> has black ones; empty unless guided by pictures.</param>
public readonly record struct PromptConditions(ReadOnlyMemory<byte> Condition, ReadOnlyMemory<byte> Negative, ReadOnlyMemory<byte> Images);

/// <summary>What the branches of a prompt's guidance are conditioned on (facebookresearch/metaquery, sample_images).</summary>
/// <param name="Condition">The prompt with its pictures.</param>
/// <param name="Negative">The negative prompt; with black pictures where there is <paramref name="Images"/>, else with the prompt's own. Null without guidance.</param>
/// <param name="Images">The negative prompt with the prompt's pictures; null unless guided by pictures.</param>
public readonly record struct PromptRequests(ConditionRequest Condition, ConditionRequest? Negative, ConditionRequest? Images)
{
    public static PromptRequests Of(PromptLine line, LineSettings settings)
    {
        ArgumentNullException.ThrowIfNull(line);
        string[] pictures = [.. line.Pictures.Select(picture => picture.Sha256)];
        var condition = new ConditionRequest(line.Prompt, pictures);
        if (!settings.IsGuided)
        {
            return new PromptRequests(condition, null, null);
        }

        var withPictures = new ConditionRequest(settings.NegativePrompt, pictures);
        return settings.IsImageGuided
            ? new PromptRequests(
                condition,
                new ConditionRequest(settings.NegativePrompt, [.. line.Pictures.Select(picture => BlackPicture.Name(picture.WidthPixels, picture.HeightPixels))]),
                withPictures)
            : new PromptRequests(condition, withPictures, null);
    }
}

/// <summary>Names of a prompt's conditions, as <see cref="PromptConditions"/>.</summary>
internal readonly record struct PromptKeys(ConditionKey Condition, ConditionKey? Negative, ConditionKey? Images);

/// <summary>An image that was given up.</summary>
public sealed record AbandonedImage(long Position, PromptLine Prompt, int SampleIndex, string Reason);
