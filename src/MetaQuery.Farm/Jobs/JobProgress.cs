using MetaQuery.Data;
using MetaQuery.Imaging;

namespace MetaQuery.Farm;

/// <summary>Where a job stands. Names are persisted: append-only.</summary>
public enum JobState
{
    Planning,
    Running,
    Finishing,
    Completed,
    CompletedWithErrors,
    Cancelled,

    /// <summary>Taken, and waiting for a worker of its model.</summary>
    Queued,
    Paused,

    /// <summary>Ended by an error that is not one image's: <see cref="JobView.Reason"/>.</summary>
    Failed,
}

/// <summary>How far a job is. Counts are images but for the two that say prompts; what an earlier run committed is included.</summary>
/// <param name="State">Where the job stands.</param>
/// <param name="Prompts">Prompts in the job, known once planning has ended.</param>
/// <param name="PromptsPlanned">Prompts read so far.</param>
/// <param name="PromptsEncoded">Prompts whose condition was ready, made in this run or found in the cache.</param>
/// <param name="Images">Images that the job will hold when done.</param>
/// <param name="Denoised">Images made, in this run or an earlier one: those written and those about to be.</param>
/// <param name="Written">Images whose bytes are synced to disk.</param>
/// <param name="Failed">Images given up with a reason.</param>
/// <param name="Resumed">Of <paramref name="Written"/> and <paramref name="Failed"/>: settled before this run began.</param>
/// <param name="ImagesPerSecond">Rate over the last seconds of this run; 0 before the first image.</param>
/// <param name="TimeLeft">Estimate at that rate, or null while there is none.</param>
public sealed record JobProgress(
    JobState State, long Prompts, long PromptsPlanned, long PromptsEncoded, long Images, long Denoised, long Written, long Failed,
    long Resumed, double ImagesPerSecond, TimeSpan? TimeLeft);

/// <summary>A sample that was given up.</summary>
public sealed record FailedSample(string Key, long PromptIndex, int SampleIndex, string Prompt, string Reason);

/// <summary>How a job ended.</summary>
/// <param name="State">Completed, CompletedWithErrors or Cancelled.</param>
/// <param name="Progress">The last counts.</param>
/// <param name="Stats">What <c>_stats.json</c> holds.</param>
/// <param name="FailedSamples">The first 100 failures; each shard's <c>_failed.jsonl</c> lists all of its own.</param>
/// <param name="SkippedLines">With <see cref="JobSpec.SkipInvalid"/>: one line per bad line of the prompt file, the first 100.</param>
/// <param name="ContactSheet">Path of contact-sheet.png, or null where the job was cancelled.</param>
public sealed record JobResult(
    JobState State, JobProgress Progress, JobStats Stats, IReadOnlyList<FailedSample> FailedSamples,
    IReadOnlyList<string> SkippedLines, string? ContactSheet)
{
    /// <summary>See <see cref="ExitCodes"/>.</summary>
    public int ExitCode => State switch
    {
        JobState.Completed => ExitCodes.Success,
        JobState.CompletedWithErrors => ExitCodes.CompletedWithErrors,
        _ => ExitCodes.Cancelled,
    };
}

/// <summary>Counters and times of one run.</summary>
/// <param name="Images">Images made by this run.</param>
/// <param name="ImagesPerSecond">Over the whole run, from its first task to its last commit.</param>
/// <param name="Elapsed">The run's wall-clock time.</param>
/// <param name="ConditionPasses">Prompts sent through the encoder.</param>
/// <param name="EncoderCalls">Batches in which they were sent.</param>
/// <param name="Cache">The condition cache's counters.</param>
/// <param name="DenoiseBatches">Batches denoised.</param>
/// <param name="Retries">Denoise or encode tasks tried again after an error.</param>
/// <param name="StageTimes">Summed over threads: encode, denoise and idle of the slots; image beside them; plan, write, sync and shard of the head.</param>
public sealed record JobStats(
    long Images, double ImagesPerSecond, TimeSpan Elapsed, long ConditionPasses, long EncoderCalls, ConditionCacheCounters Cache,
    long DenoiseBatches, long Retries, IReadOnlyDictionary<string, TimeSpan> StageTimes);

/// <summary>The condition cache's counters.</summary>
/// <param name="MemoryHits">Lookups answered from memory.</param>
/// <param name="DiskHits">Lookups answered from disk.</param>
/// <param name="Misses">Lookups that made the condition.</param>
/// <param name="SharedFlights">Lookups that waited for a condition another thread was making.</param>
/// <param name="Evictions">Entries dropped from memory to keep its byte budget.</param>
/// <param name="CorruptEntries">Entries of any tier whose checksum was wrong: made again.</param>
/// <param name="MemoryBytes">Bytes held in memory.</param>
/// <param name="DiskBytes">Bytes held on disk.</param>
public sealed record ConditionCacheCounters(
    long MemoryHits, long DiskHits, long Misses, long SharedFlights, long Evictions, long CorruptEntries, long MemoryBytes, long DiskBytes)
{
    /// <summary>Lookups answered from Redis.</summary>
    public long RedisHits { get; init; }

    /// <summary>Bytes held in Redis.</summary>
    public long RedisBytes { get; init; }

    /// <summary>Entries dropped from Redis to keep its byte budget, by writes of those who count here.</summary>
    public long RedisEvictions { get; init; }

    /// <summary>Entries dropped from disk to keep its byte budget, likewise.</summary>
    public long DiskEvictions { get; init; }

    /// <summary>Of <see cref="Misses"/>: conditions that this process had made before (among its last 65,536).</summary>
    public long MadeAgain { get; init; }
}

/// <summary>What <c>--dry-run</c> says.</summary>
/// <param name="Prompts">Valid prompts, duplicates counted each time.</param>
/// <param name="UniquePrompts">Prompts to encode, the negative ones not counted.</param>
/// <param name="UniqueNegativePrompts">Distinct negative prompts, the empty one included where it is used.</param>
/// <param name="Images">Pictures in all.</param>
/// <param name="Shards">Tar files.</param>
/// <param name="EstimatedBytes">Of all shards, by a typical size of one picture in this format.</param>
/// <param name="AlreadyCommitted">Images that an earlier run of this job left in the folder.</param>
/// <param name="Settings">What every line takes that says nothing else.</param>
/// <param name="SkippedLines">Bad lines that would be skipped, the first 100.</param>
public sealed record JobPlanSummary(
    long Prompts, long UniquePrompts, long UniqueNegativePrompts, long Images, long Shards, long EstimatedBytes, long AlreadyCommitted,
    ResolvedSettings Settings, IReadOnlyList<string> SkippedLines)
{
    /// <summary>Prompts with pictures.</summary>
    public long PromptsWithPictures { get; init; }

    /// <summary>Of these: prompts that cannot be made, a picture of theirs being unusable.</summary>
    public long UnusablePrompts { get; init; }

    /// <summary>The first of those, a line each.</summary>
    public IReadOnlyList<string> UnusableLines { get; init; } = [];
}

/// <summary>A job's settings with the model's defaults filled in.</summary>
public sealed record ResolvedSettings(
    ImageSize Size, int NumInferenceSteps, float GuidanceScale, string NegativePrompt, ulong Seed, int ImagesPerPrompt,
    int SamplesPerShard, ImageFormat Format, int Quality, int BatchSize)
{
    private const float UsualImageGuidance = 1.5f;
    private const float ReconstructionGuidance = 3;

    /// <summary>Of prompts with pictures; null for the reference's: 3 where a picture is to be made again (an empty prompt), else 1.5.</summary>
    public float? ImageGuidanceScale { get; init; }

    /// <summary>As they hold for a line.</summary>
    internal LineSettings Of(PromptLine line) => new(
        line.NumInferenceSteps ?? NumInferenceSteps, line.GuidanceScale ?? GuidanceScale, line.NegativePrompt ?? NegativePrompt)
    {
        ImageGuidanceScale = line.Images.Count == 0 ? 0
            : line.ImageGuidanceScale ?? ImageGuidanceScale ?? (line.Prompt.Length == 0 ? ReconstructionGuidance : UsualImageGuidance),
    };
}
