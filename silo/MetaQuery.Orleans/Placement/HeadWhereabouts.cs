using Orleans.Runtime;

namespace MetaQuery.Orleans;

/// <summary>Where this silo last heard of the head, and what it heard; written by <see cref="HeadKeeper"/>, read by placement and the web API. Thread-safe.</summary>
public sealed class HeadWhereabouts(TimeProvider clock)
{
    private Word? _last;

    /// <summary>The last word; null before the first.</summary>
    public HeadStanding? Last => Volatile.Read(ref _last)?.Standing;

    /// <summary>How old it is.</summary>
    public TimeSpan Age => Volatile.Read(ref _last) is { } word ? clock.GetElapsedTime(word.At) : TimeSpan.MaxValue;

    /// <summary>The silo; null where none was heard of.</summary>
    public SiloAddress? Silo => Volatile.Read(ref _last)?.Silo;

    /// <summary>Takes a word down.</summary>
    public void Hear(HeadStanding standing)
    {
        ArgumentNullException.ThrowIfNull(standing);
        SiloAddress? silo = SlotKey.TryParse(standing.Silo, out SlotKey key) ? key.Silo : null;
        Volatile.Write(ref _last, new Word(standing, silo, clock.GetTimestamp()));
    }

    private sealed record Word(HeadStanding Standing, SiloAddress? Silo, long At);
}
