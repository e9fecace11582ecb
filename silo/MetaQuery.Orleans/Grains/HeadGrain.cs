using MetaQuery.Farm;
using Orleans.Concurrency;
using Orleans.Placement;

namespace MetaQuery.Orleans;

/// <summary>The one activation that says where the head is; the head itself is its silo's <see cref="HeadHost"/>.</summary>
/// <remarks>The head does not end with an activation: the next one mostly comes up on the same silo, and finds it at work. Where it comes up elsewhere, this silo's
/// <see cref="HeadKeeper"/> hears so within a second.</remarks>
[HeadPlacement]
[Immovable(ImmovableKind.Any)]
[KeepAlive]
[Reentrant]
internal sealed class HeadGrain(HeadHost heads) : Grain, IHeadGrain
{
    public Task<HeadStanding> EnsureAsync()
    {
        try
        {
            return Task.FromResult(heads.Ensure());
        }
        catch (GrainFaultException)
        {
            DeactivateOnIdle(); // this silo cannot have it (any more): the next call finds another
            throw;
        }
    }

    public Task<SubmitAnswer> SubmitAsync(Guid ticket, JobSubmission submission, TenantRules? rules) => heads.SubmitAsync(ticket, submission, rules);

    public Task<JobPage> ListAsync(JobQuery query) => heads.Require().ListAsync(query, CancellationToken.None);

    public Task<FarmCounters> CountAsync() => heads.Require().CountAsync(CancellationToken.None);

    public Task<TenantUsage> GetUsageAsync(string tenant) => heads.Require().GetUsageAsync(tenant, CancellationToken.None);

    public Task SetRulesAsync(string tenant, TenantRules? rules)
    {
        heads.Tell(tenant, rules);
        return Task.CompletedTask;
    }
}
