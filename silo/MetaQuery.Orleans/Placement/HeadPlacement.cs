using Orleans.Placement;
using Orleans.Runtime;
using Orleans.Runtime.MembershipService.SiloMetadata;
using Orleans.Runtime.Placement;

namespace MetaQuery.Orleans;

/// <summary>Places a grain beside the head: one call then serves a request, without a hop between silos.</summary>
[AttributeUsage(AttributeTargets.Class)]
public sealed class HeadPlacementAttribute() : PlacementAttribute(new HeadPlacement());

/// <summary>Of <see cref="HeadPlacementAttribute"/>.</summary>
[GenerateSerializer]
[Alias("mq.HeadPlacement")]
public sealed class HeadPlacement : PlacementStrategy;

/// <summary>Carries <see cref="HeadRule"/> out.</summary>
internal sealed class HeadPlacementDirector(ISiloMetadataCache metadata, HeadWhereabouts whereabouts) : IPlacementDirector
{
    public Task<SiloAddress> OnAddActivation(PlacementStrategy strategy, PlacementTarget target, IPlacementContext context)
    {
        IEnumerable<SiloFacts> silos = context.GetCompatibleSilos(target).Select(silo => SiloFacts.Read(silo, metadata.GetSiloMetadata(silo).Metadata));
        return Task.FromResult(
            HeadRule.Choose(silos, whereabouts.Silo)
            ?? throw new GrainFaultException(GrainFault.Unavailable, "no silo with the role head is in the cluster; start one (silo --roles head)"));
    }
}
