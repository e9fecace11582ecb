namespace MetaQuery.Data;

/// <summary>Limits of what a prompt file may ask for.</summary>
public sealed record PromptLimits
{
    /// <summary>UTF-16 code units of a prompt or negative prompt.</summary>
    public int MaxPromptCharacters { get; init; } = 16_384;

    /// <summary>Bytes of a line (.txt, .jsonl) or a record (.csv).</summary>
    public int MaxLineBytes { get; init; } = 1 << 20;

    public int MaxIdCharacters { get; init; } = 256;

    public int MaxInferenceSteps { get; init; } = 1000;

    public float MaxGuidanceScale { get; init; } = 100;
}

/// <summary>What a pass over a whole prompt file found.</summary>
/// <param name="PromptCount">Valid prompts.</param>
/// <param name="ErrorCount">Invalid lines.</param>
/// <param name="Errors">The first of them, at most <see cref="PromptFile.MaxListedErrors"/>.</param>
/// <param name="Sha256">Of the file's bytes, lower-case hex.</param>
/// <param name="ByteLength">Of the file.</param>
public sealed record PromptFileSummary(long PromptCount, long ErrorCount, IReadOnlyList<PromptLineError> Errors, string Sha256, long ByteLength);

/// <summary>A .txt, .jsonl or .csv file of prompts, read as a stream: memory does not grow with the file, but for 16 to 32 bytes per id.</summary>
public sealed class PromptFile
{
    public const int MaxListedErrors = 100;

    /// <summary>Looks at the file's name and existence; reads nothing yet.</summary>
    /// <exception cref="PromptFileException">Missing, empty, or of an unknown extension.</exception>
    public static PromptFile Open(string path, PromptLimits? limits = null) => throw new NotImplementedException();

    public string Path => throw new NotImplementedException();

    /// <summary>Reads the whole file once.</summary>
    /// <param name="skipInvalid">False: the first invalid line is thrown, with the number of all.</param>
    /// <param name="onError">Called for every invalid line.</param>
    /// <param name="cancellationToken">Stops between two lines.</param>
    /// <exception cref="PromptLineException">A line is invalid and <paramref name="skipInvalid"/> is false.</exception>
    /// <exception cref="PromptFileException">Unreadable, malformed as a whole, or without any prompt.</exception>
    public PromptFileSummary Validate(bool skipInvalid = false, Action<PromptLineError>? onError = null, CancellationToken cancellationToken = default) => throw new NotImplementedException();

    /// <summary>Yields the valid prompts in order; invalid lines are passed over (<see cref="Validate"/> reports them).</summary>
    /// <param name="expected">Where given, a file that differs from what was validated is refused, at the latest at its end.</param>
    /// <exception cref="PromptFileException">Unreadable, or changed since it was validated.</exception>
    public IEnumerable<PromptLine> Read(PromptFileSummary? expected = null) => throw new NotImplementedException();
}
