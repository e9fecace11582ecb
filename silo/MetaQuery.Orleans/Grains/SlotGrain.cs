using MetaQuery.Farm;
using Orleans.Placement;

namespace MetaQuery.Orleans;

/// <summary>A slot's shell: its worker loop runs in the silo's <see cref="SlotFleet"/>, on a thread of its own.</summary>
internal abstract class SlotGrain(SlotFleet slots, WorkRoles role) : Grain, ISlotGrain
{
    private int _index;

    public override Task OnActivateAsync(CancellationToken cancellationToken)
    {
        string key = this.GetPrimaryKeyString();
        if (!SlotKey.TryParse(key, out SlotKey slot) || !slots.Owns(slot, role))
        {
            throw new GrainFaultException(GrainFault.NotFound, $"{key} is no slot of this silo with the role {role}");
        }

        _index = slot.Index;
        return Task.CompletedTask;
    }

    public Task<SiloSlotView> StartAsync() => Task.FromResult(slots.Start(_index));

    public Task<SiloSlotView> DrainAsync() => Task.FromResult(slots.Drain(_index));

    public Task<SiloSlotView> GetAsync() => Task.FromResult(slots.Describe(_index));
}

/// <summary>Encodes.</summary>
[OwnerPlacement]
[Immovable(ImmovableKind.Any)]
[KeepAlive]
internal sealed class MllmGrain(SlotFleet slots) : SlotGrain(slots, WorkRoles.Mllm), IMllmGrain;

/// <summary>Denoises.</summary>
[OwnerPlacement]
[Immovable(ImmovableKind.Any)]
[KeepAlive]
internal sealed class DitGrain(SlotFleet slots) : SlotGrain(slots, WorkRoles.Dit), IDitGrain;
