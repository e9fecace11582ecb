using MetaQuery.Farm;
using Orleans.Concurrency;
using Orleans.Placement;
using Orleans.Runtime;

namespace MetaQuery.Orleans;

/// <summary>A tenant's shell: keeps rules that were set for it, and hands them on with every submission, so that no head judges without them.</summary>
[HeadPlacement]
[Immovable(ImmovableKind.Any)]
[Reentrant]
internal sealed class TenantGrain([PersistentState("tenant", FarmStorage.Name)] IPersistentState<TenantGrainState> state) : Grain, ITenantGrain
{
    private IHeadGrain Head => GrainFactory.GetGrain<IHeadGrain>(0);

    public async Task<SubmitAnswer> SubmitAsync(Guid ticket, JobSubmission submission)
    {
        TenantRules? rules = state.State.Rules;
        SubmitAnswer answer = await Head.SubmitAsync(ticket, submission, rules);
        if (rules != state.State.Rules)
        {
            await Head.SetRulesAsync(this.GetPrimaryKeyString(), state.State.Rules); // set meanwhile: the submission may have come to the head after them
        }

        return answer;
    }

    public Task<TenantUsage> GetUsageAsync() => Head.GetUsageAsync(this.GetPrimaryKeyString());

    public Task<TenantRules?> GetRulesAsync() => Task.FromResult(state.State.Rules);

    /// <exception cref="JobSpecException">A value is out of range.</exception>
    public async Task SetRulesAsync(TenantRules? rules)
    {
        if (rules is { } set && (!(set.Weight > 0) || !double.IsFinite(set.Weight) || set.MaxQueuedImages < 0 || set.ImagesPerDay < 0))
        {
            throw new JobSpecException($"tenant {this.GetPrimaryKeyString()}: weight {set.Weight}, {set.MaxQueuedImages} queued, {set.ImagesPerDay} a day; expected a weight above 0 and no negative number");
        }

        await state.ReplaceAsync(new TenantGrainState { Rules = rules });
        await Head.SetRulesAsync(this.GetPrimaryKeyString(), rules);
    }
}
