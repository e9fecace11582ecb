using System.ComponentModel.DataAnnotations;

namespace MetaQuery.Client;

/// <summary>What a tenant is entitled to.</summary>
/// <param name="Weight">Its share of the slots beside other tenants of the same class.</param>
/// <param name="MaxQueuedImages">Null for no limit.</param>
/// <param name="ImagesPerDay">Null for no limit.</param>
/// <param name="Source"><c>set</c> where an admin set it for the cluster, <c>keys</c> where it is what the tenant's newest key says, or what holds without one.</param>
public sealed record Tenant(string Id, string Object, double Weight, long? MaxQueuedImages, long? ImagesPerDay, string Source);

/// <summary>What a tenant is to be entitled to: all of it, whatever held before.</summary>
public sealed record TenantRequest
{
    /// <summary>1 where it is not stated.</summary>
    [Range(0.01, 1000d)]
    public double? Weight { get; init; }

    /// <summary>Null for no limit.</summary>
    [Range(1d, 1e15)]
    public long? MaxQueuedImages { get; init; }

    /// <summary>Null for no limit.</summary>
    [Range(1d, 1e15)]
    public long? ImagesPerDay { get; init; }
}
