using MetaQuery.Farm;
using Orleans.Placement;
using Orleans.Runtime;

namespace MetaQuery.Orleans;

/// <summary>One silo's process, for the admin's grain.</summary>
[OwnerPlacement]
[Immovable(ImmovableKind.Any)]
[KeepAlive]
internal sealed class SiloGrain(SlotFleet slots, SiloLife life, ILocalSiloDetails silo) : Grain, ISiloGrain
{
    public override Task OnActivateAsync(CancellationToken cancellationToken) =>
        this.GetPrimaryKeyString() == silo.SiloAddress.ToParsableString()
            ? Task.CompletedTask
            : throw new GrainFaultException(GrainFault.NotFound, $"{this.GetPrimaryKeyString()} is not this silo");

    public Task<SiloReport> ReportAsync() => Task.FromResult(Report());

    /// <exception cref="JobSpecException">It has no role that needs slots, or the number is out of range.</exception>
    public async Task<SiloReport> ScaleAsync(int count)
    {
        slots.CheckCount(count);
        for (int i = 0; i < count; i++)
        {
            await Task.WhenAll(GrainsOf(i).Select(grain => grain.StartAsync()));
        }

        foreach (SiloSlotView slot in slots.List().Where(slot => slot.Index >= count))
        {
            slots.Drain(slot.Index);
        }

        return Report();
    }

    public Task<SiloReport> DrainAsync()
    {
        life.Leave();
        return Task.FromResult(Report());
    }

    private SiloReport Report()
    {
        (double cpu, long memory) = life.Load;
        return new SiloReport(
            this.GetPrimaryKeyString(), [.. slots.List()], life.IsLeaving, life.StartedAt, Environment.MachineName, Environment.ProcessId, cpu, memory);
    }

    private IEnumerable<ISlotGrain> GrainsOf(int index)
    {
        string key = new SlotKey(silo.SiloAddress, index).ToString();
        if (slots.Roles.HasFlag(WorkRoles.Mllm))
        {
            yield return GrainFactory.GetGrain<IMllmGrain>(key);
        }

        if (slots.Roles.HasFlag(WorkRoles.Dit))
        {
            yield return GrainFactory.GetGrain<IDitGrain>(key);
        }
    }
}
