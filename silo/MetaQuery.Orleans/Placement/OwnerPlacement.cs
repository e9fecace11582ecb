using Orleans.Placement;
using Orleans.Runtime;
using Orleans.Runtime.Placement;

namespace MetaQuery.Orleans;

/// <summary>Places a grain on the silo that its key names: that of a device slot, or of the silo itself. Nowhere else, ever.</summary>
[AttributeUsage(AttributeTargets.Class)]
public sealed class OwnerPlacementAttribute() : PlacementAttribute(new OwnerPlacement());

/// <summary>Of <see cref="OwnerPlacementAttribute"/>.</summary>
[GenerateSerializer]
[Alias("mq.OwnerPlacement")]
public sealed class OwnerPlacement : PlacementStrategy;

/// <summary>Carries <see cref="OwnerRule"/> out.</summary>
internal sealed class OwnerPlacementDirector : IPlacementDirector
{
    public Task<SiloAddress> OnAddActivation(PlacementStrategy strategy, PlacementTarget target, IPlacementContext context)
    {
        string key = target.GrainIdentity.Key.ToString() ?? "";
        return Task.FromResult(
            OwnerRule.Choose(key, context.GetCompatibleSilos(target))
            ?? throw new GrainFaultException(GrainFault.NotFound, $"{key} belongs to no silo of the cluster: its process has ended"));
    }
}
