namespace MetaQuery.Data;

/// <summary>One prompt of a prompt file.</summary>
public sealed class PromptLine
{
    /// <summary>The line it starts on, from 1.</summary>
    public required long Line { get; init; }

    /// <summary>Its place among the prompts of the file that are valid, from 0: what an image's seed is made of.</summary>
    public required long Index { get; init; }

    public required string Prompt { get; init; }

    public string? Id { get; init; }

    /// <summary>The id was written as a number, and is written so again.</summary>
    public bool IdIsNumber { get; init; }

    public ulong? Seed { get; init; }

    public int? NumInferenceSteps { get; init; }

    public float? GuidanceScale { get; init; }

    public string? NegativePrompt { get; init; }

    /// <summary>The pictures that the prompt is about, as the file names them: paths relative to it, or data: URIs.</summary>
    public IReadOnlyList<string> Images { get; init; } = [];

    public float? ImageGuidanceScale { get; init; }

    /// <summary>What <see cref="Images"/> turned out to be, once somebody has read them; empty until then.</summary>
    public IReadOnlyList<LinePicture> Pictures { get; init; } = [];

    /// <summary>All other fields as the members of a JSON object without its braces, UTF-8, in the file's order and with the file's
    /// own spelling of every value; empty if there are none.</summary>
    public ReadOnlyMemory<byte> OtherFields { get; init; }
}

/// <summary>A picture of a prompt.</summary>
/// <param name="Sha256">Of its file's bytes, lower-case hex.</param>
/// <param name="WidthPixels">As its header says.</param>
/// <param name="HeightPixels">As its header says.</param>
public sealed record LinePicture(string Sha256, int WidthPixels, int HeightPixels);

/// <summary>A line that is no valid prompt.</summary>
/// <param name="Line">From 1.</param>
/// <param name="What">What is wrong and what would be right, in one line.</param>
public sealed record PromptLineError(long Line, string What)
{
    public override string ToString() => $"line {Line}: {What}";
}

/// <summary>A prompt file that cannot be used: missing, empty, malformed, of an unknown kind, changed while it was read, or with an invalid line.</summary>
public class PromptFileException(string message, Exception? inner = null) : Exception(message, inner)
{
    /// <summary>Never: the same file fails again.</summary>
    public bool IsTransient => false;
}

/// <summary>A prompt file holds an invalid line.</summary>
public sealed class PromptLineException(string path, PromptLineError error, long errorCount = 1)
    : PromptFileException($"{path}, {error}" + (errorCount > 1 ? $" (and {errorCount - 1} more invalid lines)" : ""))
{
    public PromptLineError Error { get; } = error;

    public long ErrorCount { get; } = errorCount;
}
