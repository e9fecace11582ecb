using System.Collections.Concurrent;

namespace MetaQuery.Farm.Tests.Doubles;

/// <summary>What Redis is to workers: a tier and a flight board that several caches share.</summary>
internal sealed class SharedTier : IConditionTier, IFlightBoard
{
    private readonly ConcurrentDictionary<ConditionKey, byte[]> _conditions = new();
    private readonly ConcurrentDictionary<ConditionKey, bool> _flights = new();

    public string Name => "redis";

    public long Bytes => _conditions.Values.Sum(condition => (long)condition.Length);

    /// <summary>Runs before each read and write; may throw.</summary>
    public Action Before { get; set; } = () => { };

    public byte[]? TryRead(ConditionKey key, out bool isCorrupt)
    {
        Before();
        isCorrupt = false;
        return _conditions.GetValueOrDefault(key);
    }

    public void Write(ConditionKey key, ReadOnlySpan<byte> condition)
    {
        Before();
        _conditions[key] = condition.ToArray();
    }

    public void Evict(ConditionKey key) => _conditions.TryRemove(key, out _);

    public IDisposable? TryTake(ConditionKey key) => _flights.TryAdd(key, true) ? new Right(() => _flights.TryRemove(key, out _)) : null;

    private sealed class Right(Action end) : IDisposable
    {
        public void Dispose() => end();
    }
}
