using System.Buffers;

namespace MetaQuery.Data;

/// <summary>_stats.json: what a run of a job did. Times are this run's; it is rewritten whole and is no part of the data set's identity.</summary>
public sealed record JobStatistics
{
    public const string FileName = "_stats.json";

    /// <summary>Images made in this run.</summary>
    public required long ImageCount { get; init; }

    /// <summary>Images that could not be made.</summary>
    public long FailedCount { get; init; }

    /// <summary>Images that an earlier run had committed.</summary>
    public long ResumedCount { get; init; }

    public required TimeSpan Elapsed { get; init; }

    /// <summary>Prompts sent through the language model.</summary>
    public required long ConditionPasses { get; init; }

    public required long ConditionCacheHits { get; init; }

    public long ConditionCacheMisses { get; init; }

    /// <summary>Time per stage, summed over the slots, in the order given.</summary>
    public IReadOnlyList<KeyValuePair<string, TimeSpan>> Stages { get; init; } = [];

    /// <summary>Replaces the folder's _stats.json.</summary>
    /// <exception cref="StorageException">It cannot be written.</exception>
    public void Write(string folder)
    {
        byte[] json = JsonText.Line(writer =>
        {
            writer.WriteNumber("version", 1);
            writer.WriteNumber("images", ImageCount);
            writer.WriteNumber("failed", FailedCount);
            writer.WriteNumber("resumed", ResumedCount);
            writer.WriteNumber("seconds", Math.Round(Elapsed.TotalSeconds, 3));
            writer.WriteNumber("images_per_second", Elapsed > TimeSpan.Zero ? Math.Round(ImageCount / Elapsed.TotalSeconds, 3) : 0);
            writer.WriteNumber("condition_passes", ConditionPasses);
            writer.WriteNumber("condition_cache_hits", ConditionCacheHits);
            writer.WriteNumber("condition_cache_misses", ConditionCacheMisses);
            writer.WriteStartObject("stage_seconds");
            foreach ((string stage, TimeSpan time) in Stages)
            {
                writer.WriteNumber(stage, Math.Round(time.TotalSeconds, 3));
            }

            writer.WriteEndObject();
        });
        AtomicFile.WriteAllBytes(Path.Combine(folder, FileName), json);
    }
}
