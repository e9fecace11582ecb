using System.Collections.Concurrent;
using MetaQuery.Farm;

namespace MetaQuery.Orleans;

/// <summary>What tenants are entitled to: what their grains say, else what their keys say. Thread-safe.</summary>
public sealed class ClusterTenants(ITenantDirectory keys) : ITenantDirectory
{
    private readonly ConcurrentDictionary<string, TenantRules> _told = new(StringComparer.Ordinal);

    public TenantRules RulesOf(string tenant) => _told.TryGetValue(tenant, out TenantRules? rules) ? rules : keys.RulesOf(tenant);

    /// <summary>A tenant's grain says so; null for what the keys say.</summary>
    public void Tell(string tenant, TenantRules? rules)
    {
        if (rules is null)
        {
            _told.TryRemove(tenant, out _);
        }
        else
        {
            _told[tenant] = rules;
        }
    }
}
