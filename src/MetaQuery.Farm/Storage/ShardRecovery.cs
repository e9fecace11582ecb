using System.Collections;
using System.Security.Cryptography;
using MetaQuery.Data;
using MetaQuery.Imaging;

namespace MetaQuery.Farm;

/// <summary>What a job's folder held when it was opened.</summary>
/// <param name="Finished">Shards that count.</param>
/// <param name="Written">Samples committed.</param>
/// <param name="Failed">Samples given up.</param>
/// <param name="Retried">Positions whose failure was forgotten, so that they are made again.</param>
internal sealed record RecoveredShards(BitArray Finished, long Written, long Failed, IReadOnlyList<long> Retried);

/// <summary>Goes by the manifest first, then by the spools: whatever a death at some instruction left, nothing that was promised is lost.</summary>
internal static class ShardRecovery
{
    public static RecoveredShards Run(OutFolder folder, JobPlan plan, Manifest manifest, SpoolShelf spools, bool retryFailed)
    {
        var finished = new BitArray(checked((int)plan.ShardCount));
        long written = 0;
        long failed = 0;
        var retried = new List<long>();
        IReadOnlyDictionary<string, ShardEntry> entries = manifest.Shards; // a copy at each call
        HashSet<long> spooled = [.. spools.ListFiles().Where(shard => shard < plan.ShardCount)];
        for (long shard = 0; shard < finished.Count; shard++)
        {
            string name = plan.Layout.ShardName(shard);
            if (!entries.TryGetValue(name, out ShardEntry? entry))
            {
                continue;
            }

            var file = new FileInfo(folder.PathOf(name));
            if (!file.Exists || file.Length != entry.ByteLength)
            {
                continue; // lost or cut since: made again, and a later manifest line supersedes this one
            }

            if (spooled.Contains(shard) && HashOf(file.FullName) != entry.Sha256)
            {
                continue; // killed between a rewritten shard's rename and its manifest line: its spool is whole, and it is finished again
            }

            if (retryFailed && entry.FailedCount > 0)
            {
                retried.AddRange(Reopen(plan, shard, file.FullName, spools));
                spooled.Add(shard);
                continue;
            }

            if (entry.FailedCount > 0 && spooled.Contains(shard) && !HoldsTheSame(spools.Get(shard), entry))
            {
                Reopen(plan, shard, file.FullName, spools); // opened again by a retry that a death ended: what it made stays, its gaps stay open
                continue;
            }

            finished[(int)shard] = true;
            written += entry.SampleCount;
            failed += entry.FailedCount;
            if (spooled.Remove(shard))
            {
                spools.Remove(shard);
            }

            if (entry.FailedCount == 0)
            {
                File.Delete(folder.PathOf(FailureFile.NameFor(name))); // of an earlier round: a kill came after the line that supersedes it
            }
        }

        foreach (long shard in spooled.Order())
        {
            if (retryFailed)
            {
                retried.AddRange(spools.DropFailures(shard));
            }

            SampleSpool spool = spools.Get(shard);
            written += spool.Count - spool.FailureCount;
            failed += spool.FailureCount;
        }

        return new RecoveredShards(finished, written, failed, retried);
    }

    /// <summary>Samples that a job left in a folder, in shards and in spools; changes nothing.</summary>
    public static long CountCommitted(string outFolder, JobPlan plan)
    {
        long committed = 0;
        IReadOnlyDictionary<string, ShardEntry> entries = new Dictionary<string, ShardEntry>();
        string path = Path.Combine(outFolder, Manifest.FileName);
        if (File.Exists(path))
        {
            using Manifest lines = Manifest.Load(path);
            entries = lines.Shards;
            committed = entries.Values.Sum(entry => (long)entry.SampleCount);
        }

        return committed + new JobArchive(outFolder, plan.Settings, plan.ImageCount, session: null).CountSpooled(shard => !entries.ContainsKey(shard));
    }

    /// <summary>A finished shard's samples become a spool again, so that its gaps can be filled.</summary>
    /// <returns>The gaps.</returns>
    private static List<long> Reopen(JobPlan plan, long shard, string path, SpoolShelf spools)
    {
        SampleSpool spool = spools.Get(shard); // where it holds samples already, these stay
        var positions = new Dictionary<string, long>();
        for (long position = spools.First(shard); position < spools.End(shard); position++)
        {
            positions.Add(plan.Layout.Key(position), position);
        }

        string extension = ImageEncoder.Extension(plan.Settings.Format);
        foreach (ShardSample sample in WebDatasetShardReader.Read(path))
        {
            positions.Remove(sample.Key, out long position);
            spool.Append(SpoolKind.Sample, position, Part(sample, extension), Part(sample, "txt"), Part(sample, "json"));
        }

        spool.Flush();
        return [.. positions.Values];
    }

    /// <summary>Whether a spool is what its shard was written of, so that only its removal is missing.</summary>
    private static bool HoldsTheSame(SampleSpool spool, ShardEntry entry) => spool.IsFull && spool.FailureCount == entry.FailedCount;

    private static ReadOnlySpan<byte> Part(ShardSample sample, string extension) =>
        sample.Files.Single(file => file.Extension == extension).Content.Span;

    private static string HashOf(string path)
    {
        using FileStream stream = File.OpenRead(path);
        return Convert.ToHexStringLower(SHA256.HashData(stream));
    }
}
