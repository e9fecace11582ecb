using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Models.Diffusion;

/// <summary>What every step reads of a condition: keys and values per attention, [B, H, T, D] each.</summary>
public sealed class UNetContext : IConditionContext<UNetContext>
{
    internal UNetContext((Tensor Keys, Tensor Values)[] keysAndValues) => KeysAndValues = keysAndValues;

    /// <summary>Memory held.</summary>
    public long Bytes => KeysAndValues.Sum(pair => (pair.Keys.NumberOfElements * pair.Keys.ElementSize) + (pair.Values.NumberOfElements * pair.Values.ElementSize));

    internal IReadOnlyList<(Tensor Keys, Tensor Values)> KeysAndValues { get; }

    /// <summary>B, of a network with attention.</summary>
    internal long Rows => KeysAndValues[0].Keys.shape[0];

    /// <summary>One context of all rows, in order; copies.</summary>
    /// <exception cref="ArgumentException">None are given, or their lengths differ.</exception>
    public static UNetContext Join(IReadOnlyList<UNetContext> contexts)
    {
        if (contexts.Count == 0 || contexts.Select(context => context.KeysAndValues.FirstOrDefault().Keys?.shape[2]).Distinct().Count() > 1)
        {
            throw new ArgumentException("contexts of one batch must have the same length", nameof(contexts));
        }

        return new UNetContext([.. Enumerable.Range(0, contexts[0].KeysAndValues.Count).Select(i => (
            torch.cat([.. contexts.Select(context => context.KeysAndValues[i].Keys)], 0),
            torch.cat([.. contexts.Select(context => context.KeysAndValues[i].Values)], 0)))]);
    }

    /// <summary>Makes it outlive the dispose scope it was made in.</summary>
    public void DetachFromDisposeScope()
    {
        foreach (var (keys, values) in KeysAndValues)
        {
            keys.DetachFromDisposeScope();
            values.DetachFromDisposeScope();
        }
    }

    public void Dispose()
    {
        foreach (var (keys, values) in KeysAndValues)
        {
            keys.Dispose();
            values.Dispose();
        }
    }
}
