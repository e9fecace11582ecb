using MetaQuery.Client;
using MetaQuery.Farm;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;
using static MetaQuery.Silo.Web.Routes;

namespace MetaQuery.Silo.Web;

/// <summary><c>/v1/jobs</c>: create, list, look at, steer.</summary>
internal static class JobEndpoints
{
    private const int MostListed = 200;
    private const int MostFailures = 1000;

    private static readonly QueryParameter Limit = new("limit", "Jobs of a page.", 1, MostListed, 50);
    private static readonly QueryParameter After = new("after", "The last page's next.");
    private static readonly QueryParameter State = new("state", "Only jobs of these states, with commas between them.", Values: Wire.States, IsList: true);
    private static readonly QueryParameter FailureLimit = new("limit", "Failures of the answer.", 1, MostFailures, 100);

    public static void Map(IEndpointRouteBuilder routes, IFarm farm, ITenantDirectory tenants, WebOptions options)
    {
        var submissions = new JobSubmissions(farm, tenants, options);
        routes.Add("POST", "/v1/jobs", "createJob", "Takes a job.", async (HttpContext context) =>
        {
            JobView job = await submissions.TakeAsync(context);
            context.Response.Headers.Location = $"/v1/jobs/{job.Id}";
            return Answer(Wire.Job(job), StatusCodes.Status202Accepted);
        })
            .Accepts<JobRequest>("application/json", "multipart/form-data")
            .WithMetadata(new IdempotencyKeyHeader())
            .Produces<Job>(202).Refuses(400, 409, 413, 415, 429);

        routes.Add("GET", "/v1/jobs", "listJobs", "Jobs, newest first.", async (HttpContext context) =>
        {
            Caller caller = Caller.Of(context);
            JobState[]? states = State.List(context)?.Select(name => JobLifecycle.TryParse(name, out JobState state) ? state : default).ToArray();
            var query = new JobQuery(caller.IsAdmin ? null : caller.Tenant, (int)Limit.Number(context), After.Text(context), WithRequests: false, states);
            JobPage page = await farm.ListAsync(query, context.RequestAborted);
            return Answer(new JobList(Wire.List, [.. page.Jobs.Select(Wire.Job)], page.Next), FarmJson.Default.JobList);
        }, Limit, After, State).Produces<JobList>().Refuses(400);

        routes.Add("GET", "/v1/jobs/{id}", "getJob", "A job as it stands.", async (HttpContext context, string id) =>
            Answer(Wire.Job(await farm.GetAsync(Caller.Job(context, id), context.RequestAborted)))).Produces<Job>().Refuses(404);

        MapCommand("DELETE", "", "deleteJob", "Deletes a finished job and its files.", JobCommand.Delete);
        MapCommand("POST", "/pause", "pauseJob", "Pauses a job.", JobCommand.Pause);
        MapCommand("POST", "/resume", "resumeJob", "Lets a paused job go on.", JobCommand.Resume);
        MapCommand("POST", "/cancel", "cancelJob", "Cancels a job; what is written stays.", JobCommand.Cancel);
        MapCommand("POST", "/retry-failed", "retryFailed", "Tries again what was given up.", JobCommand.RetryFailed);

        routes.Add("GET", "/v1/jobs/{id}/failures", "listFailures", "Samples that were given up.", async (HttpContext context, string id) =>
        {
            IReadOnlyList<FailedSample> failures = await farm.ListFailuresAsync(Caller.Job(context, id), (int)FailureLimit.Number(context), context.RequestAborted);
            return Answer(new FailureList(Wire.List, [.. failures.Select(Wire.Failure)]), FarmJson.Default.FailureList);
        }, FailureLimit).Produces<FailureList>().Refuses(400, 404);

        void MapCommand(string method, string suffix, string name, string summary, JobCommand command) =>
            routes.Add(method, "/v1/jobs/{id}" + suffix, name, summary, async (HttpContext context, string id) =>
                Answer(Wire.Job(await farm.ApplyAsync(Caller.Job(context, id), command, context.RequestAborted)))).Produces<Job>().Refuses(404, 409);
    }
}
