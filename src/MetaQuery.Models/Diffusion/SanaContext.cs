using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Models.Diffusion;

/// <summary>What every step reads of a condition: keys and values per block, [B, H, T, D] each, and the scores' bias.</summary>
public sealed class SanaContext : IConditionContext<SanaContext>
{
    internal SanaContext((Tensor Keys, Tensor Values)[] keysAndValues, Tensor? bias)
    {
        (KeysAndValues, Bias) = (keysAndValues, bias);
    }

    /// <summary>Memory held.</summary>
    public long Bytes => KeysAndValues.Sum(pair => (pair.Keys.NumberOfElements * pair.Keys.ElementSize) + (pair.Values.NumberOfElements * pair.Values.ElementSize));

    internal IReadOnlyList<(Tensor Keys, Tensor Values)> KeysAndValues { get; }

    internal Tensor? Bias { get; }

    /// <summary>One context of all rows, in order; copies.</summary>
    /// <exception cref="ArgumentException">None are given, their lengths differ, or one has a mask.</exception>
    public static SanaContext Join(IReadOnlyList<SanaContext> contexts)
    {
        if (contexts.Count == 0 || contexts.Any(context => context.Bias is not null)
            || contexts.Select(context => context.KeysAndValues[0].Keys.shape[2]).Distinct().Count() > 1)
        {
            throw new ArgumentException($"{contexts.Count} contexts cannot be joined: at least one is needed, all of one length and without masks", nameof(contexts));
        }

        return new SanaContext(
            [.. Enumerable.Range(0, contexts[0].KeysAndValues.Count).Select(block => (
                torch.cat([.. contexts.Select(context => context.KeysAndValues[block].Keys)], 0),
                torch.cat([.. contexts.Select(context => context.KeysAndValues[block].Values)], 0)))],
            bias: null);
    }

    /// <summary>Makes it outlive the dispose scope it was made in.</summary>
    public void DetachFromDisposeScope()
    {
        foreach (var (keys, values) in KeysAndValues)
        {
            keys.DetachFromDisposeScope();
            values.DetachFromDisposeScope();
        }

        Bias?.DetachFromDisposeScope();
    }

    public void Dispose()
    {
        foreach (var (keys, values) in KeysAndValues)
        {
            keys.Dispose();
            values.Dispose();
        }

        Bias?.Dispose();
    }
}
