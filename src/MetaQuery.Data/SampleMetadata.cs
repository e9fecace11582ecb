namespace MetaQuery.Data;

/// <summary>A sample's .json: fields in a fixed order, numbers in the invariant notation, then the prompt line's other fields as they stood.</summary>
public sealed record SampleMetadata
{
    public required string Key { get; init; }

    public required PromptLine Prompt { get; init; }

    public required int SampleIndex { get; init; }

    /// <summary>The image's own seed.</summary>
    public required ulong Seed { get; init; }

    public required int NumInferenceSteps { get; init; }

    public required float GuidanceScale { get; init; }

    public required int WidthPixels { get; init; }

    public required int HeightPixels { get; init; }

    public required string ModelName { get; init; }

    public required string ModelRevision { get; init; }

    /// <summary>The negative prompt used, "" if none.</summary>
    public string NegativePrompt { get; init; } = "";

    /// <summary>UTF-8, one line, no trailing newline.</summary>
    /// <param name="imageSha256">Of the image file's bytes, lower-case hex; null where it is not in yet (as for the PNG's own text chunk).</param>
    public byte[] ToJson(string? imageSha256 = null) => throw new NotImplementedException();
}
