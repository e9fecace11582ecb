using System.Globalization;
using MetaQuery.Farm;
using MetaQuery.Models.Checkpoints;
using MetaQuery.Pipelines;

namespace MetaQuery.Silo;

/// <summary>What a model's halves take in memory, from its files' headers.</summary>
/// <param name="TextBytes">Of the half that makes conditions.</param>
/// <param name="ImageBytes">Of the half that makes pictures.</param>
/// <param name="SharedBytes">Part of both: what the process takes whichever half it holds.</param>
public sealed record MemoryNeed(long TextBytes, long ImageBytes, long SharedBytes)
{
    // Beside a half's weights: the process itself, its condition cache, a tenth for activations, keys and values, and conversions while loading.
    private const long ProcessBytes = 256L << 20;
    private const int ShareOfWeights = 10;

    public long Bytes => TextBytes + ImageBytes - SharedBytes;

    /// <param name="folder">A model folder; no weights are read.</param>
    /// <param name="dtype">float32 or bfloat16: weights that are stored in bfloat16 stay so in either.</param>
    /// <param name="conditionCacheBytes">What the process' condition cache may hold in memory.</param>
    /// <exception cref="CheckpointException">A part is missing or malformed.</exception>
    public static MemoryNeed Of(string folder, string dtype, long conditionCacheBytes = 0) => Of(MetaQueryModelFolder.Open(folder), dtype, conditionCacheBytes);

    /// <summary>Whether a process alternates between its halves.</summary>
    /// <param name="budgetBytes">What the process may take; null: as much as both need.</param>
    /// <param name="roles">Which halves it serves.</param>
    /// <exception cref="JobSpecException">One half alone needs more.</exception>
    internal bool Alternates(long? budgetBytes, WorkRoles roles)
    {
        if (budgetBytes is not { } budget)
        {
            return false;
        }

        foreach (var (role, bytes, what) in new[] { (WorkRoles.Mllm, TextBytes, "makes conditions"), (WorkRoles.Dit, ImageBytes, "makes pictures") })
        {
            if (roles.HasFlag(role) && bytes > budget)
            {
                throw new JobSpecException($"--memory-budget {Text(budget)}: the half of the model that {what} needs about {Text(bytes)}");
            }
        }

        return roles == WorkRoles.Both && Bytes > budget;
    }

    internal static MemoryNeed Of(MetaQueryModelFolder folder, string dtype, long conditionCacheBytes)
    {
        var encoder = new ConditionEncoderOptions();
        long features = TextModel.Describe(folder).Pictures is null ? 0 : encoder.FeatureCacheBytes + encoder.MaxHeldFeatureBytes;
        long shared = ProcessBytes + conditionCacheBytes;
        return new MemoryNeed(WithWork(Held(folder.DescribeTextWeights(), dtype)) + features + shared, WithWork(Held(folder.DescribeImageWeights(), dtype)) + shared, shared);
    }

    private static long WithWork(long weights) => weights + (weights / ShareOfWeights);

    private static long Held(IEnumerable<WeightInfo> weights, string dtype) => weights.Sum(tensor =>
        tensor.Shape.Aggregate(1L, (product, size) => product * size) * (dtype == "bfloat16" || tensor.StoredType == "BF16" ? 2 : 4));

    private static string Text(long bytes) => (bytes / (double)(1 << 30)).ToString("0.##", CultureInfo.InvariantCulture) + " GiB";
}
