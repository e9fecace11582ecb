using System.Text.Json.Serialization.Metadata;
using MetaQuery.Client;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;

namespace MetaQuery.Silo.Web;

/// <summary>How endpoints are written down: each with its id, its answer, its query, all of which the OpenAPI document states.</summary>
internal static class Routes
{
    /// <param name="handler">A lambda; as a <see cref="Delegate"/>, since a RequestDelegate would stay out of the document.</param>
    public static RouteHandlerBuilder Add(
        this IEndpointRouteBuilder routes, string method, string pattern, string id, string summary, Delegate handler, params QueryParameter[] query)
    {
        RouteHandlerBuilder route = routes.MapMethods(pattern, [method], handler).WithName(id).WithSummary(summary);
        foreach (QueryParameter parameter in query)
        {
            route.WithMetadata(parameter);
        }

        return route;
    }

    public static IResult Answer<T>(T value, JsonTypeInfo<T> type, int status = StatusCodes.Status200OK) => TypedResults.Json(value, ApiJson.Of(type), statusCode: status);

    public static IResult Answer(Job job, int status = StatusCodes.Status200OK) => Answer(job, FarmJson.Default.Job, status);

    /// <summary>Errors that an endpoint may answer with, besides those of every endpoint.</summary>
    public static RouteHandlerBuilder Refuses(this RouteHandlerBuilder route, params int[] statuses)
    {
        foreach (int status in statuses)
        {
            route.Produces<ErrorResponse>(status);
        }

        return route;
    }
}
