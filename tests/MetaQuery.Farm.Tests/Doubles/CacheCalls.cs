namespace MetaQuery.Farm.Tests.Doubles;

/// <summary>A caller that wants conditions, whoever makes them.</summary>
internal static class CacheCalls
{
    private static readonly TimeSpan AskAgain = TimeSpan.FromMilliseconds(5);

    /// <summary>Finds conditions, makes those that nobody has or makes, and waits for the others.</summary>
    /// <returns>One per lookup, in order.</returns>
    public static byte[][] GetOrEncode(
        this ConditionCache cache, IReadOnlyList<ConditionLookup> lookups,
        Func<IReadOnlyList<ConditionRequest>, CancellationToken, IReadOnlyList<byte[]>> encode, CancellationToken cancellationToken)
    {
        var found = new byte[lookups.Count][];
        int[] wanted = [.. Enumerable.Range(0, lookups.Count)];
        while (wanted.Length > 0)
        {
            cancellationToken.ThrowIfCancellationRequested();
            using ConditionFlights flights = cache.Depart([.. wanted.Select(index => lookups[index])]);
            if (flights.ToMake is { Count: > 0 } missing)
            {
                // own flights end before others' are waited for: two threads that wait for each other's cannot both be stuck
                flights.Land(encode([.. missing.Select(lookup => lookup.Request)], cancellationToken));
            }

            foreach ((int place, Task<byte[]?>? landing) in flights.Elsewhere.Where(flight => flight.Landing is not null))
            {
                landing!.Wait(cancellationToken);
                flights.Found[place] = landing.Result; // null where its maker failed: this caller tries itself
            }

            if (flights.Elsewhere.Exists(flight => flight.Landing is null))
            {
                cancellationToken.WaitHandle.WaitOne(AskAgain); // another process says nothing when it is done
            }

            for (int i = 0; i < wanted.Length; i++)
            {
                found[wanted[i]] = flights.Found[i]!;
            }

            wanted = [.. wanted.Where(index => found[index] is null)];
        }

        return found;
    }
}
