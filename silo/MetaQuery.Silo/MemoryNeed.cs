using System.Globalization;
using MetaQuery.Farm;
using MetaQuery.Models.Checkpoints;
using MetaQuery.Pipelines;

namespace MetaQuery.Silo;

/// <summary>What a model's halves take in memory, from its files' headers.</summary>
/// <param name="TextBytes">Of the half that makes conditions.</param>
/// <param name="ImageBytes">Of the half that makes pictures.</param>
public sealed record MemoryNeed(long TextBytes, long ImageBytes)
{
    // Beside a half's weights: the process itself, a tenth for activations, keys and values, and conversions while loading.
    private const long ProcessBytes = 256L << 20;
    private const int ShareOfWeights = 10;

    public long Bytes => TextBytes + ImageBytes - ProcessBytes;

    /// <param name="folder">A model folder; no weights are read.</param>
    /// <param name="dtype">float32 or bfloat16: weights that are stored in bfloat16 stay so in either.</param>
    /// <exception cref="CheckpointException">A part is missing or malformed.</exception>
    public static MemoryNeed Of(string folder, string dtype) => Of(MetaQueryModelFolder.Open(folder), dtype);

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

    internal static MemoryNeed Of(MetaQueryModelFolder folder, string dtype) =>
        new(WithWork(Held(folder.DescribeTextWeights(), dtype)), WithWork(Held(folder.DescribeImageWeights(), dtype)));

    private static long WithWork(long weights) => weights + (weights / ShareOfWeights) + ProcessBytes;

    private static long Held(IEnumerable<WeightInfo> weights, string dtype) => weights.Sum(tensor =>
        tensor.Shape.Aggregate(1L, (product, size) => product * size) * (dtype == "bfloat16" || tensor.StoredType == "BF16" ? 2 : 4));

    private static string Text(long bytes) => (bytes / (double)(1 << 30)).ToString("0.##", CultureInfo.InvariantCulture) + " GiB";
}
