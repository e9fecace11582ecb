using MetaQuery.Client;
using MetaQuery.Farm;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;
using static MetaQuery.Silo.Web.Routes;

namespace MetaQuery.Silo.Web;

/// <summary><c>/v1/silos</c>: a cluster's silos, for its admin. A farm that is no cluster has none.</summary>
internal static class SiloEndpoints
{
    private const int MostSlots = 1024;
    private static readonly QueryParameter Slots = new("slots", "Slots that it is to have.", 0, MostSlots, 1);

    public static void Map(IEndpointRouteBuilder routes, IFarm farm)
    {
        var cluster = farm as IFarmCluster;
        routes.Add("GET", "/v1/silos", "listSilos", "A cluster's silos with their slots, activations and load.", async (HttpContext context) =>
        {
            Caller.RequireAdmin(context);
            return Answer(await ListAsync(cluster, context), FarmJson.Default.SiloList);
        }).Produces<SiloList>().Refuses(403);

        routes.Add("POST", "/v1/silos/{id}/drain", "drainSilo", "Asks a silo to finish what it has begun and to leave.", (HttpContext context, string id) =>
            ChangeAsync(context, cluster, id, silos => silos.DrainSiloAsync(id, context.RequestAborted))).Produces<SiloList>(202).Refuses(403, 404);

        routes.Add("POST", "/v1/silos/{id}/scale", "scaleSilo", "Asks a silo to have so many slots.", (HttpContext context, string id) =>
            ChangeAsync(context, cluster, id, silos => silos.ScaleSiloAsync(id, (int)Slots.Number(context), context.RequestAborted)), Slots).Produces<SiloList>(202).Refuses(400, 403, 404);
    }

    private static async Task<IResult> ChangeAsync(HttpContext context, IFarmCluster? cluster, string id, Func<IFarmCluster, Task<bool>> change)
    {
        Caller.RequireAdmin(context);
        if (cluster is null || !await change(cluster))
        {
            throw ApiException.NotFound($"there is no silo {id}; /v1/silos lists them", "id");
        }

        SiloList all = await ListAsync(cluster, context);
        return Answer(all with { Data = [.. all.Data.Where(silo => silo.Id == id)] }, FarmJson.Default.SiloList, StatusCodes.Status202Accepted);
    }

    private static async Task<SiloList> ListAsync(IFarmCluster? cluster, HttpContext context) => new(
        Wire.List, cluster is not null, cluster is null ? [] : [.. (await cluster.ListSilosAsync(context.RequestAborted)).Select(Of)]);

    private static Client.Silo Of(SiloView silo) => new(
        silo.Id, "silo", silo.Host, silo.ProcessId, silo.State, silo.Roles, silo.IsHead, [.. silo.Slots.Select(Of)], silo.Activations, Wire.Finite(silo.CpuShare),
        silo.MemoryBytes, silo.StartedAt, silo.Urls);

    private static SiloSlot Of(SiloSlotView slot) => new(
        slot.Index, slot.State, slot.Worker, slot.Activity, slot.Rows, Wire.Finite(slot.BusyShare), Wire.Finite(slot.ImagesPerSecond), slot.ImagesMade, slot.ConditionsMade);
}
