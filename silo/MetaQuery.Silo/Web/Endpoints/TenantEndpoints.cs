using MetaQuery.Client;
using MetaQuery.Farm;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;
using static MetaQuery.Silo.Web.Routes;

namespace MetaQuery.Silo.Web;

/// <summary><c>/v1/tenants/{tenant}</c>: what a tenant is entitled to, for admins. A cluster keeps rules of its own beside the keys'.</summary>
internal static class TenantEndpoints
{
    private const long MostBodyBytes = 4096;

    public static void Map(IEndpointRouteBuilder routes, IFarm farm, ITenantDirectory keys)
    {
        routes.Add("GET", "/v1/tenants/{tenant}", "getTenant", "What a tenant is entitled to.", async (HttpContext context, string tenant) =>
        {
            Check(context, tenant);
            return Answer(await DescribeAsync(farm, keys, tenant, context.RequestAborted), FarmJson.Default.Tenant);
        }).Produces<Tenant>().Refuses(400, 403);

        routes.Add("PUT", "/v1/tenants/{tenant}", "setTenant", "Sets what a tenant of a cluster is entitled to, in place of what its keys say.", async (HttpContext context, string tenant) =>
        {
            Check(context, tenant);
            TenantRequest asked = await RequestBody.ReadAsync(context, FarmJson.Default.TenantRequest, MostBodyBytes);
            await Require(farm).SetTenantRulesAsync(tenant, new TenantRules(asked.Weight ?? 1, asked.MaxQueuedImages, asked.ImagesPerDay), context.RequestAborted);
            return Answer(await DescribeAsync(farm, keys, tenant, context.RequestAborted), FarmJson.Default.Tenant);
        }).Accepts<TenantRequest>("application/json").Produces<Tenant>().Refuses(400, 403, 409, 413, 415);

        routes.Add("DELETE", "/v1/tenants/{tenant}", "resetTenant", "Gives a tenant of a cluster back what its keys say.", async (HttpContext context, string tenant) =>
        {
            Check(context, tenant);
            await Require(farm).SetTenantRulesAsync(tenant, rules: null, context.RequestAborted);
            return Answer(await DescribeAsync(farm, keys, tenant, context.RequestAborted), FarmJson.Default.Tenant);
        }).Produces<Tenant>().Refuses(400, 403, 409);
    }

    /// <summary>The rules that hold for a tenant, and whether they were set rather than its keys'.</summary>
    public static async Task<(TenantRules Rules, bool AreSet)> RulesOfAsync(IFarm farm, ITenantDirectory keys, string tenant, CancellationToken cancellationToken) =>
        farm is IFarmCluster cluster && await cluster.GetTenantRulesAsync(tenant, cancellationToken) is { } set ? (set, true) : (keys.RulesOf(tenant), false);

    private static async Task<Tenant> DescribeAsync(IFarm farm, ITenantDirectory keys, string tenant, CancellationToken cancellationToken)
    {
        (TenantRules rules, bool areSet) = await RulesOfAsync(farm, keys, tenant, cancellationToken);
        return new Tenant(tenant, "tenant", rules.Weight, rules.MaxQueuedImages, rules.ImagesPerDay, areSet ? "set" : "keys");
    }

    private static void Check(HttpContext context, string tenant)
    {
        Caller.RequireAdmin(context);
        if (!ApiKey.IsTenantName(tenant))
        {
            throw ApiException.Invalid("tenant", "a tenant's name is 1 to 64 letters, digits, '-', '_' and '.'");
        }
    }

    private static IFarmCluster Require(IFarm farm) => farm as IFarmCluster ?? throw new ApiException(
        409, "this farm is no cluster: a tenant's rules are those of its newest key; ./farm keys add --tenant makes one with others", "tenant", "not_a_cluster");
}
