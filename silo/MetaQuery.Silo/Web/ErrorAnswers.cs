using System.Diagnostics;
using System.Globalization;
using System.Text.RegularExpressions;
using MetaQuery.Client;
using MetaQuery.Data;
using MetaQuery.Farm;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Logging;

namespace MetaQuery.Silo.Web;

/// <summary>The outermost layer: whatever goes wrong becomes one answer in the API's shape, and every answer carries a request id.</summary>
internal sealed partial class ErrorAnswers(RequestDelegate next, ILogger<ErrorAnswers> logger)
{
    private const int ClientClosedRequest = 499; // nginx's number; nobody reads it, but logs and metrics show it

    public async Task InvokeAsync(HttpContext context)
    {
        ArgumentNullException.ThrowIfNull(context);
        context.Response.Headers["x-request-id"] = context.TraceIdentifier;
        long start = Stopwatch.GetTimestamp();
        await AnswerAsync(context);
        if (!HttpMethods.IsGet(context.Request.Method) && !HttpMethods.IsHead(context.Request.Method) && !HttpMethods.IsOptions(context.Request.Method))
        {
            // who changed what: looking alone is counted, not logged
            Changed(
                context.Request.Method, context.Request.Path, context.Response.StatusCode, (context.Items[typeof(Caller)] as Caller)?.Tenant, context.TraceIdentifier,
                Stopwatch.GetElapsedTime(start).TotalMilliseconds);
        }
    }

    private async Task AnswerAsync(HttpContext context)
    {
        try
        {
            await next(context);
            if (context.Response is { HasStarted: false, StatusCode: >= 400, ContentType: null, ContentLength: null } or { HasStarted: false, StatusCode: 416 })
            {
                await WriteAsync(context, OfStatus(context));
            }
        }
        catch (Exception exception) when (context.RequestAborted.IsCancellationRequested && exception is OperationCanceledException or IOException or ApiException)
        {
            if (!context.Response.HasStarted)
            {
                context.Response.StatusCode = ClientClosedRequest;
            }
        }
        catch (Exception exception)
        {
            ApiException answer = Of(exception);
            if ((answer.Status >= 500 && answer.Status != 503) || exception is StorageException or PictureOutageException or IOException or UnauthorizedAccessException)
            {
                Unexpected(exception, context.Request.Method, context.Request.Path, context.TraceIdentifier);
            }

            if (context.Response.HasStarted)
            {
                context.Abort(); // a cut answer must not look like a whole one
                return;
            }

            await WriteAsync(context, answer);
        }
    }

    public static async Task WriteAsync(HttpContext context, ApiException answer)
    {
        HttpResponse response = context.Response;
        response.StatusCode = answer.Status;
        response.ContentLength = null; // of the file that is not sent
        response.Headers.ContentDisposition = default;
        response.Headers.CacheControl = "no-store";
        if (answer.RetryAfter is { } wait)
        {
            response.Headers.RetryAfter = Math.Max(1, (long)Math.Ceiling(wait.TotalSeconds)).ToString(CultureInfo.InvariantCulture);
        }

        await response.WriteAsJsonAsync(answer.Body, ApiJson.Of(FarmJson.Default.ErrorResponse), contentType: null, context.RequestAborted);
    }

    internal static ApiException Of(Exception exception) => exception switch
    {
        ApiException api => api,
        BadHttpRequestException { StatusCode: 413 } => new ApiException(413, "the body is larger than this server takes", "body", "too_large"),
        BadHttpRequestException bad => new ApiException(bad.StatusCode, bad.Message, "body", "malformed"),
        JobNotFoundException => ApiException.NotFound(exception.Message),
        JobStateException => new ApiException(409, exception.Message, code: "job_state"),
        IdempotencyConflictException => new ApiException(409, exception.Message, "Idempotency-Key", "idempotency_conflict"),
        QueueFullException full => new ApiException(429, full.Message, code: "queue_full", retryAfter: full.RetryAfter),
        PromptLineException line => ApiException.Invalid("prompts", $"{line.Error}{(line.ErrorCount > 1 ? $" (and {line.ErrorCount - 1} more invalid lines)" : "")}"),
        JobSpecException or PromptFileException => ApiException.Invalid((exception as JobSpecException)?.Field ?? "prompts", WithoutFolder(exception.Message)),
        ModelMismatchException => ApiException.Invalid("size", exception.Message),
        StorageException storage => new ApiException(503, Told(storage), code: "storage", retryAfter: TimeSpan.FromSeconds(30)),
        PictureOutageException => new ApiException(503, "the farm cannot read its folder of pictures now; the server's log says why", code: "storage", retryAfter: TimeSpan.FromSeconds(30)),
        FarmException { IsTransient: true } => new ApiException(503, exception.Message, code: "unavailable", retryAfter: TimeSpan.FromSeconds(5)),
        FarmException => new ApiException(500, exception.Message),
        FileNotFoundException or DirectoryNotFoundException => ApiException.NotFound("what was asked for is gone"), // its job was deleted meanwhile
        IOException or UnauthorizedAccessException => new ApiException(503, "the server's storage refuses; its log has the error under this answer's x-request-id", code: "storage", retryAfter: TimeSpan.FromSeconds(30)),
        OperationCanceledException => new ApiException(503, "the server is stopping", code: "unavailable", retryAfter: TimeSpan.FromSeconds(5)),
        _ => new ApiException(500, "unexpected error; the server's log has it under this answer's x-request-id"),
    };

    private static ApiException OfStatus(HttpContext context) => context.Response.StatusCode switch
    {
        404 => ApiException.NotFound($"there is nothing at {context.Request.Method} {context.Request.Path}; /openapi/v1.json lists what there is"),
        405 => new ApiException(405, $"{context.Request.Path} does not take {context.Request.Method}; it takes {context.Response.Headers.Allow}", code: "method_not_allowed"),
        415 => new ApiException(415, "the body's type is not taken here", "Content-Type", "unsupported_media_type"),
        416 => new ApiException(416, "the range lies outside of the file", "Range", "range_not_satisfiable"),
        var status => new ApiException(status, $"status {status}"),
    };

    // where the server keeps the uploaded copy is nobody's business
    private static string WithoutFolder(string message) => UploadedCopy().Replace(message, "the prompt file");

    [GeneratedRegex(@"^/\S*/prompts\.(txt|jsonl|csv)\b", RegexOptions.ExplicitCapture, matchTimeoutMilliseconds: 1000)]
    private static partial Regex UploadedCopy();

    // the message itself names the path
    private static string Told(StorageException storage) =>
        storage.Fault == StorageFault.DiskFull ? "the farm's disk is full" : "the farm cannot write to its disk; the server's log says why";

    [LoggerMessage(2, LogLevel.Information, "{Method} {Path}: {Status} for tenant {Tenant} in {Milliseconds:0} ms ({RequestId})")]
    private partial void Changed(string method, string path, int status, string? tenant, string requestId, double milliseconds);

    [LoggerMessage(1, LogLevel.Error, "unexpected error in {Method} {Path} ({RequestId})")]
    private partial void Unexpected(Exception exception, string method, string path, string requestId);
}
