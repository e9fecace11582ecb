using MetaQuery.Imaging;

namespace MetaQuery.Farm;

/// <summary>Which jobs a worker serves first.</summary>
public enum JobPriority { Bulk, Interactive }

/// <summary>What is wanted, as the user states it. What is null takes the model's default.</summary>
public sealed record JobSpec
{
    /// <summary>A .txt, .jsonl or .csv file; or null when <see cref="Prompts"/> holds the prompts themselves.</summary>
    public string? PromptFile { get; init; }

    /// <summary>Literal prompts, in place of a file.</summary>
    public IReadOnlyList<string>? Prompts { get; init; }

    /// <summary>With <see cref="Prompts"/>: files of this machine, or data: URIs, of the pictures that all of them are about.</summary>
    public IReadOnlyList<string> Images { get; init; } = [];

    /// <summary>The folder that takes shards and manifest.</summary>
    public required string OutFolder { get; init; }

    public int ImagesPerPrompt { get; init; } = 1;
    public ImageSize? Size { get; init; }
    public int? NumInferenceSteps { get; init; }
    public float? GuidanceScale { get; init; }

    /// <summary>Of prompts with pictures; null for 1.5, or 3 where the prompt is empty.</summary>
    public float? ImageGuidanceScale { get; init; }
    public string NegativePrompt { get; init; } = "";
    public ulong Seed { get; init; }
    public int SamplesPerShard { get; init; } = 10_000;
    public ImageFormat Format { get; init; } = ImageFormat.Png;

    /// <summary>1 to 100 for jpg and webp; without effect on png.</summary>
    public int Quality { get; init; } = 95;

    public JobPriority Priority { get; init; } = JobPriority.Bulk;

    /// <summary><c>float32</c>, <c>bfloat16</c>, or null for what the model was loaded with; a model in another one is refused.</summary>
    public string? Dtype { get; init; }

    /// <summary>Rows per denoising batch; part of what the pictures depend on.</summary>
    public int? BatchSize { get; init; }

    /// <summary>Skip and list the prompt file's bad lines; otherwise the first one stops the job before it starts.</summary>
    public bool SkipInvalid { get; init; }
}
