using MetaQuery.Farm;

namespace MetaQuery.Orleans;

/// <summary>What a job's grain remembers, and which later word replaces it. The journal is the truth of a job; its ticket says that it must be looked after.</summary>
public static class JobTicketRules
{
    /// <summary>The ticket after a head's word.</summary>
    /// <param name="known">What was written before; null for nothing.</param>
    /// <param name="told">What a head says now.</param>
    /// <returns>The one that holds; <paramref name="known"/> itself where nothing changes and nothing needs to be written.</returns>
    /// <remarks>A head that was replaced may still speak: its epoch is lower, and nothing it says counts any more.</remarks>
    public static JobTicket After(JobTicket? known, JobTicket told)
    {
        ArgumentNullException.ThrowIfNull(told);
        if (known is null)
        {
            return told;
        }

        return told.HeadEpoch < known.HeadEpoch || (told.HeadEpoch == known.HeadEpoch && IsSame(known, told)) ? known : told with { AdoptedAt = known.AdoptedAt };
    }

    /// <summary>Whether the job must be kept going: while it is not final, its reminder stands.</summary>
    public static bool NeedsReminder(JobTicket? ticket) => ticket is not null && !JobLifecycle.IsFinal(ticket.State);

    private static bool IsSame(JobTicket known, JobTicket told) => known.State == told.State && known.HeadSilo == told.HeadSilo;
}
