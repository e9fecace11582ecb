using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Parity.Tests.Kinds;

/// <summary>Copies of the states that a model shows on its way, by name.</summary>
internal sealed class ObservedStates : IDisposable
{
    private readonly Dictionary<string, Tensor> _states = new(StringComparer.Ordinal);

    public void Add(string name, Tensor state)
    {
        using var scope = NewDisposeScope();
        _states[name] = state.detach().clone().DetachFromDisposeScope();
    }

    /// <returns>The copy, which stays this object's; null if nothing of that name was shown.</returns>
    public Tensor? Find(string name) => _states.GetValueOrDefault(name);

    public Tensor this[string name] => _states[name];

    public void Dispose()
    {
        foreach (var state in _states.Values)
            state.Dispose();
    }
}
