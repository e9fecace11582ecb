using System.Buffers;
using System.Text.Json;
using MetaQuery.Data;

namespace MetaQuery.Farm;

/// <summary><c>_stats.json</c>: what the last run of a job did. The one file that differs between two runs of a job.</summary>
internal static class StatsFile
{
    public const string Name = "_stats.json";

    public static void Write(string path, JobState state, JobProgress progress, JobStats stats, string numerics, int slots)
    {
        var buffer = new ArrayBufferWriter<byte>();
        using (var writer = new Utf8JsonWriter(buffer, new JsonWriterOptions { Indented = true }))
        {
            writer.WriteStartObject();
            writer.WriteNumber("version", 2);
            writer.WriteString("state", JsonNamingPolicy.SnakeCaseLower.ConvertName(state.ToString()));
            writer.WriteNumber("prompts", progress.Prompts);
            writer.WriteNumber("images", progress.Images);
            writer.WriteNumber("written", progress.Written);
            writer.WriteNumber("failed", progress.Failed);
            writer.WriteNumber("resumed", progress.Resumed);
            writer.WriteString("numerics", numerics);
            writer.WriteNumber("slots", slots);
            writer.WriteStartObject("this_run");
            writer.WriteNumber("images", stats.Images);
            writer.WriteNumber("images_per_second", Math.Round(stats.ImagesPerSecond, 3));
            writer.WriteNumber("seconds", Math.Round(stats.Elapsed.TotalSeconds, 3));
            writer.WriteNumber("condition_passes", stats.ConditionPasses);
            writer.WriteNumber("encoder_calls", stats.EncoderCalls);
            writer.WriteNumber("denoise_batches", stats.DenoiseBatches);
            writer.WriteNumber("retries", stats.Retries);
            writer.WriteStartObject("condition_cache");
            writer.WriteNumber("memory_hits", stats.Cache.MemoryHits);
            writer.WriteNumber("disk_hits", stats.Cache.DiskHits);
            writer.WriteNumber("shared_flights", stats.Cache.SharedFlights);
            writer.WriteNumber("misses", stats.Cache.Misses);
            writer.WriteNumber("evictions", stats.Cache.Evictions);
            writer.WriteNumber("disk_evictions", stats.Cache.DiskEvictions);
            writer.WriteNumber("corrupt_entries", stats.Cache.CorruptEntries);
            writer.WriteNumber("memory_bytes", stats.Cache.MemoryBytes);
            writer.WriteNumber("disk_bytes", stats.Cache.DiskBytes);
            writer.WriteEndObject();
            writer.WriteStartObject("stage_seconds");
            foreach ((string stage, TimeSpan time) in stats.StageTimes)
            {
                writer.WriteNumber(stage.Replace(' ', '_'), Math.Round(time.TotalSeconds, 3));
            }

            writer.WriteEndObject();
            writer.WriteEndObject();
            writer.WriteEndObject();
        }

        AtomicFile.WriteAllBytes(path, [.. buffer.WrittenSpan, (byte)'\n']);
    }
}
