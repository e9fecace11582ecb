using MetaQuery.Farm;

namespace MetaQuery.Orleans;

/// <summary>How the head stands.</summary>
/// <param name="Silo">The silo that holds it.</param>
/// <param name="IsRunning">Whether it answers.</param>
/// <param name="IsReady">Whether jobs are worked on.</param>
/// <param name="Reason">One line where it is not.</param>
/// <param name="Epoch">Of the head, the data folder's count: each head has a greater one than the head before.</param>
[GenerateSerializer]
[Alias("mq.HeadStanding")]
[Immutable]
public sealed record HeadStanding(
    [property: Id(0)] string Silo, [property: Id(1)] bool IsRunning, [property: Id(2)] bool IsReady, [property: Id(3)] string? Reason, [property: Id(4)] long Epoch);

/// <summary>What became of a submission.</summary>
/// <param name="Job">Null while it is pending: ask again.</param>
[GenerateSerializer]
[Alias("mq.SubmitAnswer")]
[Immutable]
public sealed record SubmitAnswer([property: Id(0)] JobView? Job);

/// <summary>What a job's grain remembers of it.</summary>
/// <param name="JobId">The grain's key.</param>
/// <param name="State">As a head last said.</param>
/// <param name="HeadSilo">The silo whose head owned the job then.</param>
/// <param name="HeadEpoch">Of that head.</param>
/// <param name="AdoptedAt">When a head first spoke of it.</param>
[GenerateSerializer]
[Alias("mq.JobTicket")]
[Immutable]
public sealed record JobTicket(
    [property: Id(0)] string JobId, [property: Id(1)] string Tenant, [property: Id(2)] string Name, [property: Id(3)] JobPriority Priority,
    [property: Id(4)] JobState State, [property: Id(5)] long Prompts, [property: Id(6)] long Images, [property: Id(7)] string HeadSilo,
    [property: Id(8)] long HeadEpoch, [property: Id(9)] DateTimeOffset AdoptedAt);

/// <summary>A job grain's state as storage has it.</summary>
[GenerateSerializer]
[Alias("mq.JobGrainState")]
public sealed class JobGrainState
{
    [Id(0)]
    public JobTicket? Ticket { get; set; }
}

/// <summary>A tenant grain's state as storage has it.</summary>
[GenerateSerializer]
[Alias("mq.TenantGrainState")]
public sealed class TenantGrainState
{
    [Id(0)]
    public TenantRules? Rules { get; set; }
}

/// <summary>A silo, as it tells itself.</summary>
/// <param name="Silo">Its id.</param>
/// <param name="Slots">In order of their numbers.</param>
/// <param name="IsLeaving">Whether it was asked to drain.</param>
/// <param name="CpuShare">Of its machine, since it was last asked: 0 to 1.</param>
/// <param name="MemoryBytes">Of its process.</param>
[GenerateSerializer]
[Alias("mq.SiloReport")]
[Immutable]
public sealed record SiloReport(
    [property: Id(0)] string Silo, [property: Id(1)] SiloSlotView[] Slots, [property: Id(2)] bool IsLeaving, [property: Id(3)] DateTimeOffset StartedAt,
    [property: Id(4)] string Host, [property: Id(5)] int ProcessId,
    [property: Id(6)] double CpuShare, [property: Id(7)] long MemoryBytes);
