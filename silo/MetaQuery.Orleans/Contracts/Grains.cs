using MetaQuery.Farm;
using Orleans.Concurrency;

namespace MetaQuery.Orleans;

/// <summary>The farm's head: one in the cluster, key 0. Makes sure that it runs, takes submissions, answers what is not one job's.</summary>
/// <remarks>Every call is short and may be made again: Orleans' time-out says nothing about whether it was carried out.</remarks>
[Alias("mq.IHeadGrain")]
public interface IHeadGrain : IGrainWithIntegerKey
{
    /// <summary>Begins what is needed for the head to run, and says how it stands. Returns at once.</summary>
    [Alias("Ensure")]
    [ResponseTimeout("00:00:05")]
    Task<HeadStanding> EnsureAsync();

    /// <summary>Hands a submission over, or asks what became of it: waits a few seconds, then says that it is pending and is to be asked again.</summary>
    /// <param name="ticket">The submission's own name.</param>
    /// <param name="submission">With the prompts themselves or the path of a file in the data folder.</param>
    /// <param name="rules">What the tenant's grain says; null for what the keys say.</param>
    [Alias("Submit")]
    Task<SubmitAnswer> SubmitAsync(Guid ticket, JobSubmission submission, TenantRules? rules);

    [Alias("List")]
    Task<JobPage> ListAsync(JobQuery query);

    [Alias("Count")]
    Task<FarmCounters> CountAsync();

    [Alias("Usage")]
    Task<TenantUsage> GetUsageAsync(string tenant);

    /// <summary>A tenant's rules from now on; null for what the keys say.</summary>
    [Alias("Rules")]
    Task SetRulesAsync(string tenant, TenantRules? rules);
}

/// <summary>One job, key its id: remembers that it must be looked after, and answers for it.</summary>
[Alias("mq.IJobGrain")]
public interface IJobGrain : IGrainWithStringKey
{
    /// <summary>A head's word: the job is its own, in this state. The job's reminder stands from then on until it has ended.</summary>
    [Alias("Adopt")]
    Task AdoptAsync(JobTicket ticket);

    /// <summary>The job is deleted: nothing is remembered of it.</summary>
    [Alias("Forget")]
    Task ForgetAsync();

    /// <summary>What is remembered; null for nothing.</summary>
    [Alias("Ticket")]
    Task<JobTicket?> GetTicketAsync();

    [Alias("Get")]
    Task<JobView> GetAsync(string? tenant);

    /// <summary>Carries a command out, once for each <paramref name="call"/>.</summary>
    [Alias("Apply")]
    Task<JobView> ApplyAsync(Guid call, string? tenant, JobCommand command);

    /// <summary>Ends with the job, or fails where the head leaves this silo.</summary>
    [Alias("Watch")]
    IAsyncEnumerable<JobEvent> WatchAsync(string? tenant, string? lastEventId, CancellationToken cancellationToken = default);

    [Alias("Samples")]
    Task<SamplePage> ListSamplesAsync(string? tenant, long fromPosition, int most);

    [Alias("Sample")]
    Task<SampleContent> ReadSampleAsync(string? tenant, long position);

    [Alias("Failures")]
    Task<FailedSample[]> ListFailuresAsync(string? tenant, int most);

    [Alias("Files")]
    Task<JobFile[]> ListFilesAsync(string? tenant);
}

/// <summary>A device slot, key <see cref="SlotKey"/>: starts and ends its worker loop, and says what it does. Nothing is computed in its turns.</summary>
[Alias("mq.ISlotGrain")]
public interface ISlotGrain : IGrainWithStringKey
{
    /// <summary>Lets the slot work; it goes on working where it does already.</summary>
    [Alias("Start")]
    Task<SiloSlotView> StartAsync();

    /// <summary>Finishes what the slot has begun and gives back the rest; returns at once.</summary>
    [Alias("Drain")]
    Task<SiloSlotView> DrainAsync();

    [Alias("Status")]
    Task<SiloSlotView> GetAsync();
}

/// <summary>A slot that turns prompts into conditions.</summary>
[Alias("mq.IMllmGrain")]
public interface IMllmGrain : ISlotGrain;

/// <summary>A slot that turns conditions into pictures. Where one slot does both, its two grains share its one thread.</summary>
[Alias("mq.IDitGrain")]
public interface IDitGrain : ISlotGrain;

/// <summary>One silo's process, key its address: its slots, and its leaving.</summary>
[Alias("mq.ISiloGrain")]
public interface ISiloGrain : IGrainWithStringKey
{
    [Alias("Report")]
    [ResponseTimeout("00:00:05")]
    Task<SiloReport> ReportAsync();

    /// <summary>Begins to have so many slots: new ones are started, those beyond are drained.</summary>
    [Alias("Scale")]
    Task<SiloReport> ScaleAsync(int slots);

    /// <summary>Begins to leave: finishes what slots have begun, gives back the rest, hands the head over, ends the process.</summary>
    [Alias("Drain")]
    Task<SiloReport> DrainAsync();
}

/// <summary>The cluster for its admin, key 0: silos, slots, activations, load; scale and drain.</summary>
[Alias("mq.IAdminGrain")]
public interface IAdminGrain : IGrainWithIntegerKey
{
    [Alias("Silos")]
    Task<SiloView[]> ListSilosAsync();

    /// <returns>False where there is no such silo.</returns>
    [Alias("Drain")]
    Task<bool> DrainAsync(string silo);

    /// <returns>False where there is no such silo.</returns>
    [Alias("Scale")]
    Task<bool> ScaleAsync(string silo, int slots);

    /// <summary>Does nothing: what a call through the cluster costs.</summary>
    [Alias("Ping")]
    ValueTask<long> PingAsync(long number);
}

/// <summary>A tenant, key its name: what it is entitled to beyond its keys' rules, kept through any silo's death.</summary>
[Alias("mq.ITenantGrain")]
public interface ITenantGrain : IGrainWithStringKey
{
    /// <summary>Submits in the tenant's name, with the rules that hold for it now.</summary>
    [Alias("Submit")]
    Task<SubmitAnswer> SubmitAsync(Guid ticket, JobSubmission submission);

    [Alias("Usage")]
    Task<TenantUsage> GetUsageAsync();

    /// <summary>Null for what the tenant's keys say.</summary>
    [Alias("GetRules")]
    Task<TenantRules?> GetRulesAsync();

    /// <summary>Takes effect at once, for waiting work too; null gives the keys' rules back.</summary>
    [Alias("SetRules")]
    Task SetRulesAsync(TenantRules? rules);
}
