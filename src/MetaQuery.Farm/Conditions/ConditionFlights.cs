namespace MetaQuery.Farm;

/// <summary>What became of a call for several conditions: some are there, some are the caller's to make, some are being made by others.</summary>
/// <remarks>One thread at a time but for <see cref="GiveUp"/>. Dispose gives back the right to make what did not land.</remarks>
internal sealed class ConditionFlights : IDisposable
{
    private readonly ConditionCache _cache;
    private readonly List<Flight> _own = [];
    private readonly Lock _landing = new();
    private int _landed;

    public ConditionFlights(ConditionCache cache, int lookups)
    {
        _cache = cache;
        Found = new byte[lookups][];
    }

    /// <summary>Per lookup its condition, or null.</summary>
    public byte[]?[] Found { get; }

    /// <summary>Conditions to make, in the order in which <see cref="Land"/> takes them.</summary>
    public IReadOnlyList<ConditionLookup> ToMake => [.. _own.Select(flight => flight.Lookup)];

    /// <summary>Places among the lookups of those to make.</summary>
    public IReadOnlyList<int> Places => [.. _own.Select(flight => flight.Place)];

    /// <summary>Conditions that somebody else makes: their places, and a task that ends with it (null where the maker failed), or no task where another process makes it.</summary>
    public List<(int Place, Task<byte[]?>? Landing)> Elsewhere { get; } = [];

    /// <summary>Keeps what was made, in every tier that it belongs to. After an exception it may be called again and goes on where it was.</summary>
    /// <exception cref="FarmException">A tier cannot be reached.</exception>
    /// <exception cref="Data.StorageException">A tier cannot be written.</exception>
    public void Land(IReadOnlyList<byte[]> made)
    {
        if (made.Count != _own.Count)
        {
            throw new InvalidOperationException($"the encoder gave {made.Count} conditions for {_own.Count} requests");
        }

        lock (_landing)
        {
            for (; _landed < made.Count; _landed++)
            {
                _cache.Keep(_own[_landed].Lookup, made[_landed]);
                Found[_own[_landed].Place] = made[_landed];
                End(_own[_landed], made[_landed]);
            }
        }
    }

    /// <summary>From any thread: their maker hangs, and others may make what it had taken. What it makes after all does not land.</summary>
    public void GiveUp()
    {
        if (_landing.TryEnter())
        {
            try
            {
                Dispose();
            }
            finally
            {
                _landing.Exit();
            }
        } // else it does not hang any more
    }

    public void Dispose()
    {
        lock (_landing)
        {
            for (; _landed < _own.Count; _landed++)
            {
                End(_own[_landed], null);
            }
        }
    }

    internal void AddOwn(int place, ConditionLookup lookup, IDisposable? right) => _own.Add(new Flight(place, lookup, right));

    private void End(Flight flight, byte[]? condition)
    {
        flight.Right?.Dispose(); // first: who hears of the end and asks the board must not find it taken
        _cache.EndFlight(flight.Lookup.Key, condition);
    }

    private readonly record struct Flight(int Place, ConditionLookup Lookup, IDisposable? Right);
}
