using MetaQuery.Farm;
using Orleans.Concurrency;
using Orleans.Placement;
using Orleans.Runtime;
using Orleans.Runtime.MembershipService.SiloMetadata;

namespace MetaQuery.Orleans;

/// <summary>The cluster as its admin sees it: asks each silo, and says which of them are silent.</summary>
[HeadPlacement]
[Immovable(ImmovableKind.Any)]
[Reentrant]
internal sealed class AdminGrain(ISiloStatusOracle oracle, ISiloMetadataCache metadata, HeadWhereabouts whereabouts, TimeProvider clock) : Grain, IAdminGrain
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(2);
    private static readonly TimeSpan GoodFor = TimeSpan.FromSeconds(1);

    private Task<SiloView[]>? _latest;
    private long _latestAt;

    /// <summary>At most once a second, whoever asks.</summary>
    public Task<SiloView[]> ListSilosAsync()
    {
        if (_latest is null || _latest.IsFaulted || clock.GetElapsedTime(_latestAt) > GoodFor)
        {
            _latestAt = clock.GetTimestamp();
            _latest = LookAsync();
        }

        return _latest;
    }

    public Task<bool> DrainAsync(string silo) => ChangeAsync(silo, grain => grain.DrainAsync());

    public Task<bool> ScaleAsync(string silo, int slots) => ChangeAsync(silo, grain => grain.ScaleAsync(slots));

    public ValueTask<long> PingAsync(long number) => ValueTask.FromResult(number);

    private async Task<bool> ChangeAsync(string silo, Func<ISiloGrain, Task> change)
    {
        if (Find(silo) is null)
        {
            return false;
        }

        await change(GrainFactory.GetGrain<ISiloGrain>(silo));
        _latest = null; // who changed it sees it changed
        return true;
    }

    private SiloAddress? Find(string silo) =>
        oracle.GetApproximateSiloStatuses(onlyActive: true).Keys.FirstOrDefault(known => known.ToParsableString() == silo);

    private async Task<SiloView[]> LookAsync()
    {
        KeyValuePair<SiloAddress, SiloStatus>[] silos = [.. oracle.GetApproximateSiloStatuses().Where(silo => silo.Value is not (SiloStatus.Dead or SiloStatus.None))];
        Task<Dictionary<SiloAddress, Dictionary<string, int>>> activations = CountActivationsAsync([.. silos.Where(silo => silo.Value == SiloStatus.Active).Select(silo => silo.Key)]);
        SiloView[] views = await Task.WhenAll(silos.Select(async silo => await DescribeAsync(silo.Key, silo.Value, await activations)));
        return [.. views.OrderBy(view => view.StartedAt ?? DateTimeOffset.MaxValue).ThenBy(view => view.Id, StringComparer.Ordinal)];
    }

    private async Task<SiloView> DescribeAsync(SiloAddress silo, SiloStatus status, Dictionary<SiloAddress, Dictionary<string, int>> activations)
    {
        SiloFacts facts = SiloFacts.Read(silo, metadata.GetSiloMetadata(silo).Metadata);
        SiloReport? report = status == SiloStatus.Active ? await TryAskAsync(facts.Id) : null;
        string state = status switch
        {
            SiloStatus.Created or SiloStatus.Joining => "joining",
            SiloStatus.Active when report is null => "silent",
            SiloStatus.Active when report.IsLeaving => "leaving",
            SiloStatus.Active => "active",
            _ => "leaving",
        };
        return new SiloView(
            facts.Id, report?.Host ?? silo.Endpoint.Address.ToString(), facts.ProcessId, state, SiloRoleNames.List(facts.Roles), silo.Equals(whereabouts.Silo) && whereabouts.Last is { IsRunning: true },
            report?.Slots ?? [], activations.GetValueOrDefault(silo) ?? [], report?.CpuShare ?? 0, report?.MemoryBytes ?? 0, report?.StartedAt,
            facts.Urls.Split(' ', StringSplitOptions.RemoveEmptyEntries));
    }

    private async Task<SiloReport?> TryAskAsync(string silo)
    {
        try
        {
            return await GrainFactory.GetGrain<ISiloGrain>(silo).ReportAsync().WaitAsync(Patience);
        }
        catch (Exception exception) when (ClusterCalls.MayPass(exception) || exception is GrainFaultException)
        {
            return null; // said of it: silent
        }
    }

    /// <summary>Of the farm's own grains, by the kind's plain name.</summary>
    private async Task<Dictionary<SiloAddress, Dictionary<string, int>>> CountActivationsAsync(SiloAddress[] silos)
    {
        var counts = new Dictionary<SiloAddress, Dictionary<string, int>>();
        try
        {
            SimpleGrainStatistic[] all = await GrainFactory.GetGrain<IManagementGrain>(0).GetSimpleGrainStatistics(silos).WaitAsync(Patience);
            foreach (SimpleGrainStatistic one in all.Where(one => one.GrainType.StartsWith("MetaQuery.Orleans.", StringComparison.Ordinal)))
            {
                string kind = one.GrainType.Split(',')[0]["MetaQuery.Orleans.".Length..];
                Dictionary<string, int> of = counts.TryGetValue(one.SiloAddress, out Dictionary<string, int>? known) ? known : counts[one.SiloAddress] = new(StringComparer.Ordinal);
                of[kind] = of.GetValueOrDefault(kind) + one.ActivationCount;
            }
        }
        catch (Exception exception) when (ClusterCalls.MayPass(exception))
        {
            // a silo is dying: counted with the next look
        }

        return counts;
    }
}
