using System.Security.Cryptography;

namespace MetaQuery.Data;

/// <summary>Limits of what a prompt file may ask for.</summary>
public sealed record PromptLimits
{
    /// <summary>UTF-16 code units of a prompt or a negative prompt.</summary>
    public int MaxPromptCharacters { get; init; } = 16_384;

    /// <summary>Bytes of a line (.txt) or a record (.csv).</summary>
    public int MaxLineBytes { get; init; } = 1 << 20;

    /// <summary>Bytes of a .jsonl's line, which may hold pictures as data: URIs.</summary>
    public int MaxJsonLineBytes { get; init; } = 48 << 20;

    /// <summary>Pictures of one prompt.</summary>
    public int MaxImages { get; init; } = 16;

    public int MaxIdCharacters { get; init; } = 256;

    /// <summary>Fields of a JSON object or columns of a .csv.</summary>
    public int MaxFields { get; init; } = 1000;

    public int MaxInferenceSteps { get; init; } = 1000;

    public float MaxGuidanceScale { get; init; } = 100;

    /// <summary>Bytes of a line's other fields in all, as they go into the sample's JSON: they travel with each of its images.</summary>
    public int MaxOtherFieldsBytes { get; init; } = 64 << 10;

    internal int LineBytes(PromptFormat format) => format == PromptFormat.JsonLines ? MaxJsonLineBytes : MaxLineBytes;
}

/// <summary>What a pass over a whole prompt file found.</summary>
/// <param name="PromptCount">Valid prompts.</param>
/// <param name="ErrorCount">Invalid lines.</param>
/// <param name="Errors">The first of them, at most <see cref="PromptFile.MaxListedErrors"/>.</param>
/// <param name="Sha256">Of the file's bytes, lower-case hex.</param>
/// <param name="ByteLength">Of the file.</param>
public sealed record PromptFileSummary(long PromptCount, long ErrorCount, IReadOnlyList<PromptLineError> Errors, string Sha256, long ByteLength)
{
    /// <summary>When the file was last written to, as its file system says.</summary>
    public DateTime LastWriteUtc { get; init; }
}

/// <summary>
/// A .txt, .jsonl or .csv file of prompts in UTF-8, read as a stream. Memory does not grow with the file, but for 22 to 43 bytes per id
/// (ids are compared over the whole file). docs/data.md describes the formats.
/// </summary>
public sealed class PromptFile
{
    /// <summary>The most invalid lines that a summary keeps.</summary>
    public const int MaxListedErrors = 100;

    private const int LinesBetweenLooks = 256;

    private readonly PromptFormat _format;
    private readonly PromptLimits _limits;

    private PromptFile(string path, PromptFormat format, PromptLimits limits)
    {
        Path = path;
        _format = format;
        _limits = limits;
    }

    /// <summary>As it was given.</summary>
    public string Path { get; }

    /// <summary><c>txt</c>, <c>jsonl</c> or <c>csv</c>: how its bytes are read.</summary>
    public string Format => _format switch { PromptFormat.Text => "txt", PromptFormat.JsonLines => "jsonl", _ => "csv" };

    /// <summary>Looks at the name and whether there is such a file; reads nothing yet.</summary>
    /// <exception cref="PromptFileException">Missing, a folder, empty, or of an unknown extension.</exception>
    public static PromptFile Open(string path, PromptLimits? limits = null)
    {
        string extension = System.IO.Path.GetExtension(path).ToLowerInvariant();
        PromptFormat format = extension switch
        {
            ".txt" => PromptFormat.Text,
            ".jsonl" or ".ndjson" => PromptFormat.JsonLines,
            ".csv" => PromptFormat.Csv,
            _ => throw new PromptFileException($"{path}: a prompt file ends in .txt, .jsonl or .csv, not in \"{extension}\""),
        };

        if (Directory.Exists(path))
        {
            throw new PromptFileException($"{path}: is a folder, not a prompt file");
        }

        if (!File.Exists(path))
        {
            throw new PromptFileException($"{path}: there is no such prompt file");
        }

        if (!RegularFile.MayBe(path))
        {
            throw new PromptFileException($"{path}: is no regular file; a prompt file is read more than once, so save it first");
        }

        return new PromptFile(path, format, limits ?? new PromptLimits());
    }

    /// <summary>Reads the whole file once.</summary>
    /// <param name="skipInvalid">False: the first invalid line is thrown once the whole file is read, with the number of all.</param>
    /// <param name="onError">Called for every invalid line.</param>
    /// <param name="onPrompt">Called for every valid prompt, in order.</param>
    /// <param name="cancellationToken">Stops between two lines.</param>
    /// <exception cref="PromptLineException">A line is invalid and <paramref name="skipInvalid"/> is false.</exception>
    /// <exception cref="PromptFileException">Unreadable, malformed as a whole, or without any prompt.</exception>
    public PromptFileSummary Validate(
        bool skipInvalid = false, Action<PromptLineError>? onError = null, Action<PromptLine>? onPrompt = null, CancellationToken cancellationToken = default)
    {
        using FileStream stream = OpenStream();
        DateTime lastWrite = File.GetLastWriteTimeUtc(stream.SafeFileHandle);
        using PromptScanner scanner = new(Path, stream, _format, _limits);
        var errors = new List<PromptLineError>();
        long errorCount = 0;
        while (scanner.MoveNext())
        {
            cancellationToken.ThrowIfCancellationRequested();
            if (scanner.Error is PromptLineError error)
            {
                errorCount++;
                onError?.Invoke(error);
                if (errors.Count < MaxListedErrors)
                {
                    errors.Add(error);
                }
            }
            else
            {
                onPrompt?.Invoke(scanner.Current!);
            }
        }

        if (errorCount > 0 && !skipInvalid)
        {
            throw new PromptLineException(Path, errors[0], errorCount);
        }

        if (scanner.PromptCount == 0)
        {
            string reason = errorCount > 0
                ? $"none of its {errorCount} lines is valid; the first, {errors[0]}"
                : scanner.ByteLength == 0 ? "is empty" : "holds no prompt";
            throw new PromptFileException($"{Path}: {reason}");
        }

        return new PromptFileSummary(scanner.PromptCount, errorCount, errors, scanner.Sha256, scanner.ByteLength) { LastWriteUtc = lastWrite };
    }

    /// <summary>Yields the valid prompts in order; invalid lines are passed over, <see cref="Validate"/> reports them.</summary>
    /// <param name="expected">Where given, a file that differs from the one validated is refused: one that was written to since is compared before
    /// its first prompt, one that is written to meanwhile is noticed within some hundred lines, anything else at its end.</param>
    /// <exception cref="PromptFileException">Unreadable, or changed since it was validated.</exception>
    public IEnumerable<PromptLine> Read(PromptFileSummary? expected = null)
    {
        using FileStream stream = OpenStream();
        DateTime lastWrite = File.GetLastWriteTimeUtc(stream.SafeFileHandle);
        if (expected is not null)
        {
            CompareWith(expected, stream, lastWrite);
        }

        using PromptScanner scanner = new(Path, stream, _format, _limits);
        int lines = 0;
        while (scanner.MoveNext())
        {
            if (expected is not null && lines++ % LinesBetweenLooks == 0
                && (stream.Length != expected.ByteLength || File.GetLastWriteTimeUtc(stream.SafeFileHandle) != lastWrite))
            {
                throw Changed("it was written to while it was read");
            }

            if (scanner.Current is PromptLine line)
            {
                yield return line;
            }
        }

        if (expected is not null && scanner.Sha256 != expected.Sha256)
        {
            throw Changed($"its sha256 is {scanner.Sha256}, was {expected.Sha256}");
        }
    }

    private void CompareWith(PromptFileSummary expected, FileStream stream, DateTime lastWrite)
    {
        if (stream.Length != expected.ByteLength)
        {
            throw Changed($"{stream.Length} bytes long, was {expected.ByteLength}");
        }

        if (lastWrite != expected.LastWriteUtc)
        {
            string sha256 = Convert.ToHexStringLower(SHA256.HashData(stream));
            stream.Position = 0;
            if (sha256 != expected.Sha256)
            {
                throw Changed($"its sha256 is {sha256}, was {expected.Sha256}");
            }
        }
    }

    private PromptFileException Changed(string how) => new($"{Path}: changed since it was validated: {how}");

    private FileStream OpenStream()
    {
        try
        {
            return new FileStream(Path, FileMode.Open, FileAccess.Read, FileShare.Read, bufferSize: 0, FileOptions.SequentialScan);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw new PromptFileException($"{Path}: cannot be read: {exception.Message}", exception);
        }
    }
}

internal enum PromptFormat
{
    Text,
    JsonLines,
    Csv,
}
