using Orleans.Runtime;

namespace MetaQuery.Orleans;

/// <summary>Where the head belongs: it stays where it is while that silo lives, else it goes to the oldest silo with the role.</summary>
/// <remarks>Every silo decides by the same rule over the same membership, so that all look for the head in one place; where two views differ for a moment, the
/// data folder's lock and the head's name in Redis still let one of them work.</remarks>
public static class HeadRule
{
    /// <param name="active">Silos that take new activations.</param>
    /// <param name="known">Where the head was last seen; null where it was not.</param>
    /// <returns>Null while no silo has the role.</returns>
    public static SiloAddress? Choose(IEnumerable<SiloFacts> active, SiloAddress? known)
    {
        ArgumentNullException.ThrowIfNull(active);
        SiloFacts? oldest = null;
        foreach (SiloFacts silo in active)
        {
            if (!silo.Roles.HasFlag(SiloRoles.Head))
            {
                continue;
            }

            if (silo.Address.Equals(known))
            {
                return known;
            }

            oldest = oldest is null || IsOlder(silo.Address, oldest.Address) ? silo : oldest;
        }

        return oldest?.Address;
    }

    /// <summary>Whether what runs or waits on a silo must be let go after a word of the head's grain.</summary>
    /// <param name="silo">The silo that heard it.</param>
    /// <param name="epoch">Of the head that runs there; 0 where none does.</param>
    /// <param name="standing">The word.</param>
    /// <returns>False for a word from before: a head of a lower number, somewhere else, was there before the one that runs here.</returns>
    public static bool IsReplaced(string silo, long epoch, HeadStanding standing)
    {
        ArgumentNullException.ThrowIfNull(standing);
        return standing.Silo != silo && (!standing.IsRunning || standing.Epoch > epoch);
    }

    // a silo's generation is the second it started in
    private static bool IsOlder(SiloAddress one, SiloAddress other) =>
        one.Generation != other.Generation
            ? one.Generation < other.Generation
            : string.CompareOrdinal(one.ToParsableString(), other.ToParsableString()) < 0;
}
