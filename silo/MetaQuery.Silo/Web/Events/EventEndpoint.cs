using System.Buffers;
using System.IO.Pipelines;
using MetaQuery.Client;
using MetaQuery.Farm;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.AspNetCore.Routing;

namespace MetaQuery.Silo.Web;

/// <summary><c>GET /v1/jobs/ID/events</c>: server-sent events with resume and heartbeats.</summary>
internal sealed class EventEndpoint(IFarm farm, EventHubs hubs, WebOptions options)
{
    private const string LastEventId = "Last-Event-ID";
    private const int MostIdCharacters = 200;

    public void Map(IEndpointRouteBuilder routes) =>
        routes.Add("GET", "/v1/jobs/{id}/events", "watchJob", "What happens to a job, as server-sent events: snapshot, state, progress, samples. Ends with the job.", StreamAsync)
            .WithMetadata(new LastEventIdHeader())
            .Produces(200, contentType: "text/event-stream").Produces(204).Refuses(400, 404, 429);

    private async Task<IResult> StreamAsync(HttpContext context, string id)
    {
        string? last = context.Request.Headers[LastEventId] is [{ Length: > 0 } given] ? given : null;
        if (last?.Length > MostIdCharacters)
        {
            throw ApiException.Invalid(LastEventId, $"{LastEventId} is longer than {MostIdCharacters} characters: it is none of this server's");
        }

        JobView job = await farm.GetAsync(Caller.Job(context, id), context.RequestAborted);
        if (JobLifecycle.IsFinal(job.State) && last == JobEventHub.FinalId(job))
        {
            return TypedResults.NoContent(); // tells an EventSource not to come again
        }

        using IDisposable place = hubs.Places.Take(Caller.Of(context), "event streams are open");
        JobEventHub hub = hubs.Join(job.Id, last);
        try
        {
            context.Response.ContentType = "text/event-stream";
            context.Response.Headers.CacheControl = "no-store";
            context.Response.Headers["X-Accel-Buffering"] = "no"; // nginx would hold events back
            context.Features.Get<IHttpResponseBodyFeature>()?.DisableBuffering();
            using var stop = CancellationTokenSource.CreateLinkedTokenSource(context.RequestAborted, hubs.Stopping);
            await SendAsync(context.Response.BodyWriter, hub, last, stop.Token);
        }
        catch (OperationCanceledException)
        {
            // the client has gone, or the server stops
        }
        finally
        {
            hubs.Leave(job.Id, hub);
        }

        return TypedResults.Empty;
    }

    private async Task SendAsync(PipeWriter writer, JobEventHub hub, string? last, CancellationToken stop)
    {
        await writer.WriteAsync("retry: 2000\n\n"u8.ToArray(), stop);
        long sequence = hub.Find(last);
        while (true)
        {
            (IReadOnlyList<EventFrame> frames, Task changed, bool hasEnded) = hub.After(sequence);
            if (frames.Count > 0)
            {
                foreach (EventFrame frame in frames)
                {
                    writer.Write(frame.Bytes.Span);
                    sequence = frame.Sequence;
                }

                await writer.FlushAsync(stop);
            }
            else if (hasEnded)
            {
                return;
            }
            else
            {
                try
                {
                    await changed.WaitAsync(options.Heartbeat, stop);
                }
                catch (TimeoutException)
                {
                    await writer.WriteAsync(": still here\n\n"u8.ToArray(), stop);
                }
            }
        }
    }
}

/// <summary>Marks the endpoint that resumes after an event.</summary>
internal sealed record LastEventIdHeader;
