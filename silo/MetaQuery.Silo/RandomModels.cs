using MetaQuery.Pipelines.RandomModels;
using TorchSharp;

namespace MetaQuery.Silo;

/// <summary>Model folders of real shapes with random weights, for trying memory and speed.</summary>
public static class RandomModels
{
    /// <summary>Members of the family that can be written.</summary>
    public static IReadOnlyList<string> Families => RandomModelFolder.Families;

    /// <param name="folder">Must not exist yet, or be empty.</param>
    /// <param name="family">One of <see cref="Families"/>.</param>
    /// <param name="dtype">float32 or bfloat16.</param>
    /// <param name="seed">The same seed, the same bytes.</param>
    /// <param name="progress">Told each part as it begins.</param>
    /// <returns>Bytes of all weights.</returns>
    /// <exception cref="Pipelines.PipelineException">The folder is not empty.</exception>
    public static long Write(string folder, string family, string dtype, ulong seed, Action<string> progress) => RandomModelFolder.Write(
        folder, family, dtype == "float32" ? torch.ScalarType.Float32 : torch.ScalarType.BFloat16, seed, new Reports(progress));

    // Progress<T> would report out of order, from other threads.
    private sealed class Reports(Action<string> write) : IProgress<string>
    {
        public void Report(string value) => write(value);
    }
}
