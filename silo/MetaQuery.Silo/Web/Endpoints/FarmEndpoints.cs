using MetaQuery.Client;
using MetaQuery.Farm;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;
using static MetaQuery.Silo.Web.Routes;

namespace MetaQuery.Silo.Web;

/// <summary>Workers, cache, usage, models, health.</summary>
internal static class FarmEndpoints
{
    public static void Map(IEndpointRouteBuilder routes, IFarm farm, ITenantDirectory tenants, DateTimeOffset startedAt)
    {
        routes.Add("GET", "/v1/workers", "listWorkers", "Workers with their slots and present work.", async (HttpContext context) =>
        {
            IReadOnlyList<WorkerView> workers = await farm.ListWorkersAsync(context.RequestAborted);
            Caller caller = Caller.Of(context);
            HashSet<string>? own = caller.IsAdmin ? null : await OwnJobsAsync(farm, workers, caller.Tenant, context.RequestAborted);
            return Answer(new WorkerList(Wire.List, [.. workers.Select(worker => own is null ? Wire.Worker(worker) : Wire.WorkerOf(worker, own))]), FarmJson.Default.WorkerList);
        }).Produces<WorkerList>();

        routes.Add("POST", "/v1/workers/{id}/drain", "drainWorker", "Asks a worker to finish what it has begun and to leave.", async (HttpContext context, string id) =>
        {
            Caller.RequireAdmin(context);
            if (!await farm.DrainWorkerAsync(id, context.RequestAborted))
            {
                throw ApiException.NotFound($"there is no worker {id}; /v1/workers lists them", "id");
            }

            IReadOnlyList<WorkerView> workers = await farm.ListWorkersAsync(context.RequestAborted);
            return Answer(new WorkerList(Wire.List, [.. workers.Where(worker => worker.Info.Id == id).Select(Wire.Worker)]), FarmJson.Default.WorkerList, StatusCodes.Status202Accepted);
        }).Produces<WorkerList>(202).Refuses(403, 404);

        routes.Add("GET", "/v1/cache", "getCache", "The condition cache's counters.", async (HttpContext context) =>
            Answer(Wire.Cache(await farm.CountAsync(context.RequestAborted)), FarmJson.Default.CacheReport)).Produces<CacheReport>();

        routes.Add("GET", "/v1/usage", "getUsage", "What the asker's tenant has queued and asked for.", async (HttpContext context) =>
        {
            Caller caller = Caller.Of(context);
            TenantUsage usage = await farm.GetUsageAsync(caller.Tenant, context.RequestAborted);
            (TenantRules rules, _) = await TenantEndpoints.RulesOfAsync(farm, tenants, caller.Tenant, context.RequestAborted);
            return Answer(
                new Usage("usage", caller.Tenant, caller.IsAdmin, usage.QueuedImages, usage.ImagesToday, rules.MaxQueuedImages, rules.ImagesPerDay), FarmJson.Default.Usage);
        }).Produces<Usage>();

        routes.Add("GET", "/v1/models", "listModels", "The model that this farm serves.", (HttpContext _) =>
            Answer(new ModelList(Wire.List, [Wire.Model(farm.Model, farm.ReadsPictures, startedAt)]), FarmJson.Default.ModelList)).Produces<ModelList>();

        routes.Add("GET", "/v1/models/{id}", "getModel", "One model.", (HttpContext _, string id) =>
            ImageEndpoints.IsServed(id, farm.Model)
                ? Answer(Wire.Model(farm.Model, farm.ReadsPictures, startedAt), FarmJson.Default.Model)
                : throw ImageEndpoints.NoSuchModel(id, farm.Model)).Produces<Model>().Refuses(404);

        routes.Add("GET", "/healthz", "health", "Whether the process answers.", (HttpContext _) => Answer(new Health("ok"), FarmJson.Default.Health)).Produces<Health>();

        routes.Add("GET", "/readyz", "readiness", "Whether jobs can be taken and are worked on.", (HttpContext _) =>
        {
            FarmReadiness readiness = farm.Readiness;
            return readiness.IsReady
                ? Answer(new Health("ready"), FarmJson.Default.Health)
                : Answer(new Health("not_ready", readiness.Reason), FarmJson.Default.Health, StatusCodes.Status503ServiceUnavailable);
        }).Produces<Health>().Produces<Health>(503);

        // some probes and load balancers ask with HEAD
        routes.Add("HEAD", "/healthz", "headHealth", "As GET.", (HttpContext _) => TypedResults.Ok()).ExcludeFromDescription();
        routes.Add("HEAD", "/readyz", "headReadiness", "As GET.", (HttpContext _) =>
            TypedResults.StatusCode(farm.Readiness.IsReady ? StatusCodes.Status200OK : StatusCodes.Status503ServiceUnavailable)).ExcludeFromDescription();
    }

    // of the jobs that workers hold now, the tenant's
    private static async Task<HashSet<string>> OwnJobsAsync(IFarm farm, IReadOnlyList<WorkerView> workers, string tenant, CancellationToken cancellationToken)
    {
        var own = new HashSet<string>(StringComparer.Ordinal);
        foreach (string id in workers.SelectMany(worker => worker.Status.Slots).SelectMany(slot => slot.JobIds).Distinct(StringComparer.Ordinal))
        {
            try
            {
                own.Add((await farm.GetAsync(new JobReference(id, tenant), cancellationToken)).Id);
            }
            catch (JobNotFoundException)
            {
                // another tenant's, or gone since
            }
        }

        return own;
    }
}
