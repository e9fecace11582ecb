using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json.Nodes;
using MetaQuery.Client;
using MetaQuery.Farm;
using MetaQuery.Imaging;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;
using static MetaQuery.Silo.Web.Routes;

namespace MetaQuery.Silo.Web;

/// <summary><c>POST /v1/images/generations</c> as OpenAI's: an interactive job of one prompt, and the wait for it.</summary>
internal sealed class ImageEndpoints(IFarm farm, WebOptions options, OutputEndpoints outputs, BodyBudget bodies, TimeProvider time)
{
    private static readonly TimeSpan Grace = TimeSpan.FromMinutes(1);

    private readonly TenantPlaces _places = new(options.MaxWaitingRequests, options.MaxWaitingRequestsOfTenant, "queue_full", TimeSpan.FromSeconds(2));

    /// <summary>Requests that wait now.</summary>
    public long Waiting => _places.Taken;

    public void Map(IEndpointRouteBuilder routes) =>
        routes.Add("POST", "/v1/images/generations", "generateImages", "Makes pictures of a prompt and answers with them, as OpenAI's.", async (HttpContext context) =>
            Answer(await GenerateAsync(context), FarmJson.Default.ImageResponse))
            .Accepts<ImageRequest>("application/json").WithMetadata(new IdempotencyKeyHeader()).Produces<ImageResponse>().Refuses(400, 404, 409, 413, 415, 422, 429, 504);

    public void MapEdits(IEndpointRouteBuilder routes) =>
        routes.Add("POST", "/v1/images/edits", "editImages", "Makes pictures of pictures and a prompt, as OpenAI's.", async (HttpContext context) =>
            Answer(await EditAsync(context), FarmJson.Default.ImageResponse))
            .Accepts<ImageEditRequest>("application/json", "multipart/form-data").WithMetadata(new IdempotencyKeyHeader()).Produces<ImageResponse>().Refuses(400, 404, 409, 413, 415, 422, 429, 504);

    /// <summary>Whether a model's name stands for the farm's one model: its own, or those that OpenAI's clients send unasked.</summary>
    public static bool IsServed(string? name, ImageModelInfo model) =>
        name is null or "" or "auto" || name == model.ModelName || name.StartsWith("dall-e-", StringComparison.Ordinal) || name.StartsWith("gpt-image-", StringComparison.Ordinal);

    public static ApiException NoSuchModel(string name, ImageModelInfo model) =>
        new(404, $"model {(name.Length <= 60 ? name : name[..57] + "...")} is not served here; {model.ModelName} is", "model", "model_not_found");

    private async Task<ImageResponse> GenerateAsync(HttpContext context)
    {
        using IDisposable place = TakePlace(context);
        ImageRequest request = await RequestBody.ReadAsync(context, FarmJson.Default.ImageRequest, options.MaxBodyBytes, allowUnknown: true);
        JobSubmissions.CheckPrompt(request.Prompt, "prompt");
        string? key = IdempotencyKeyHeader.Read(context);
        JobView job = await farm.SubmitAsync(ToSubmission(request, request.Prompt, Caller.Of(context).Tenant, key), context.RequestAborted);
        return await WaitAndAnswerAsync(context, request, job.Id);
    }

    private async Task<ImageResponse> EditAsync(HttpContext context)
    {
        using IDisposable place = TakePlace(context);
        (ImageSettings edit, string jobId) = await SubmitEditAsync(context);
        return await WaitAndAnswerAsync(context, edit, jobId);
    }

    /// <summary>In a method of its own: what holds the pictures has ended when the wait for them begins, which may take minutes.</summary>
    private async Task<(ImageSettings Edit, string JobId)> SubmitEditAsync(HttpContext context)
    {
        string? key = IdempotencyKeyHeader.Read(context);
        using IDisposable room = bodies.Take(context, options.MaxPictureBytes);
        (ImageEditRequest edit, IReadOnlyList<byte[]> pictures) = await ImageEdits.ReadAsync(context, options.MaxPictureBytes);
        string prompt = string.IsNullOrWhiteSpace(edit.Prompt) ? "" : edit.Prompt;
        JobSubmission submission = ToSubmission(edit, prompt, Caller.Of(context).Tenant, key);

        // as a file of one line, which names its pictures: one way of taking pictures for all requests
        string[] names = [.. Enumerable.Range(1, pictures.Count).Select(number => $"picture {number}")];
        var line = new JsonObject { ["prompt"] = prompt, ["images"] = new JsonArray([.. names.Select(name => (JsonNode)name)]) };
        submission = submission with
        {
            Spec = submission.Spec with { Prompts = null, ImageGuidanceScale = edit.ImageGuidance },
            Prompts = new MemoryStream(Encoding.UTF8.GetBytes(line.ToJsonString())),
            PromptsFormat = "jsonl",
            Pictures = names.Zip(pictures, (name, file) => new UploadedPicture(name, file)).ToAsyncEnumerable(),
            Name = "images/edits",
        };
        JobView job = await farm.SubmitAsync(submission, context.RequestAborted);
        return (edit with { Images = null }, job.Id);
    }

    /// <summary>Before the body is read.</summary>
    private IDisposable TakePlace(HttpContext context) => _places.Take(Caller.Of(context), "requests for pictures wait");

    private async Task<ImageResponse> WaitAndAnswerAsync(HttpContext context, ImageSettings request, string jobId)
    {
        var reference = new JobReference(jobId, Caller.Of(context).Tenant);
        JobView job = await WaitAsync(reference, cancelWhenLeft: IdempotencyKeyHeader.Read(context) is null, context.RequestAborted);
        return await AnswerAsync(context, request, reference, job);
    }

    private JobSubmission ToSubmission(ImageSettings request, string prompt, string tenant, string? idempotencyKey)
    {
        if (!IsServed(request.Model, farm.Model))
        {
            throw NoSuchModel(request.Model!, farm.Model);
        }

        return new JobSubmission
        {
            Spec = new JobSpec
            {
                OutFolder = "",
                Prompts = [prompt],
                ImagesPerPrompt = request.N ?? 1,
                Size = JobSubmissions.ParseSize(request.Size, farm.Model),
                NumInferenceSteps = request.Steps,
                GuidanceScale = request.Guidance,
                NegativePrompt = request.NegativePrompt ?? "",
                Seed = request.Seed ?? SeedFor(tenant, idempotencyKey),
                Format = ImageEncoder.Parse(request.OutputFormat ?? "png")!.Value,
                Quality = request.OutputCompression ?? 95,
                Priority = JobPriority.Interactive,
            },
            Tenant = tenant,
            Name = "images/generations",
            Kind = JobKind.Request,
            IdempotencyKey = idempotencyKey is null ? null : "images/" + Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(idempotencyKey))),
            // a repetition under the same key must be the same submission, so it states no time; the deadline is for a server that dies while it waits
            Deadline = idempotencyKey is null ? time.GetUtcNow() + options.RequestTimeout + Grace : null,
        };
    }

    // a client that repeats its request under one key means the same pictures; otherwise every request gives new ones
    private static ulong SeedFor(string tenant, string? idempotencyKey)
    {
        Span<byte> bytes = stackalloc byte[32];
        if (idempotencyKey is null)
        {
            RandomNumberGenerator.Fill(bytes);
        }
        else
        {
            SHA256.HashData(Encoding.UTF8.GetBytes($"metaquery-request-seed 1\n{tenant}\n{idempotencyKey}"), bytes);
        }

        return BinaryPrimitives.ReadUInt64LittleEndian(bytes) >> 11; // 53 bits: JavaScript reads it exactly
    }

    private async Task<JobView> WaitAsync(JobReference job, bool cancelWhenLeft, CancellationToken aborted)
    {
        using var limit = new CancellationTokenSource(options.RequestTimeout, time);
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(aborted, limit.Token);
        try
        {
            await foreach (Farm.JobEvent happened in farm.WatchAsync(job, lastEventId: null, stop.Token))
            {
                if (JobLifecycle.IsFinal(happened.Job.State))
                {
                    return happened.Job;
                }
            }

            return await farm.GetAsync(job, stop.Token);
        }
        catch (OperationCanceledException) when (stop.IsCancellationRequested)
        {
            bool hasEnded = cancelWhenLeft && !await TryCancelAsync(job);
            aborted.ThrowIfCancellationRequested();
            if (hasEnded)
            {
                return await farm.GetAsync(job, aborted); // in this very moment: what was made is there
            }

            throw new ApiException(504, $"the pictures were not ready within {options.RequestTimeout.TotalSeconds:0} seconds; the farm is busy, or no worker is there", code: "timeout");
        }
    }

    /// <returns>False where it had just ended by itself.</returns>
    private async Task<bool> TryCancelAsync(JobReference job)
    {
        try
        {
            await farm.ApplyAsync(job, JobCommand.Cancel, CancellationToken.None);
            return true;
        }
        catch (JobStateException)
        {
            return false;
        }
    }

    private string BaseUrl(HttpRequest request) => options.PublicUrl?.AbsoluteUri.TrimEnd('/') ?? $"{request.Scheme}://{request.Host}";

    private async Task<ImageResponse> AnswerAsync(HttpContext context, ImageSettings request, JobReference reference, JobView job)
    {
        var images = new List<Client.GeneratedImage>();
        SamplePage made = await farm.ListSamplesAsync(reference, 0, (int)Math.Max(1, job.Counts.Images), context.RequestAborted);
        foreach (SampleView sample in made.Samples)
        {
            if (request.ResponseFormat == "url")
            {
                images.Add(new Client.GeneratedImage(null, BaseUrl(context.Request) + outputs.ImageUrl(job.Id, sample.Position)));
            }
            else
            {
                SampleContent content = await farm.ReadSampleAsync(reference, sample.Position, context.RequestAborted);
                images.Add(new Client.GeneratedImage(Convert.ToBase64String(content.Image.Span), null));
            }
        }

        IReadOnlyList<FailedSample> failures = job.Counts.Failed == 0 ? [] : await farm.ListFailuresAsync(reference, 10, context.RequestAborted);
        string[] reasons = [.. failures.Select(failed => failed.Reason)];
        return images.Count > 0
            ? new ImageResponse(
                job.CreatedAt.ToUnixTimeSeconds(), images, request.OutputFormat ?? "png", Wire.Size(job.Settings.Size), reasons is [] ? null : reasons)
            : throw new ApiException(
                422, // clients of OpenAI try 409 and 500 again, and would wait for the same end once more
                job.State == JobState.Cancelled ? $"the request was cancelled: {job.Reason ?? "by its job"}" : $"no picture could be made: {reasons.FirstOrDefault() ?? job.Reason ?? "its job says no reason"}",
                code: "generation_failed", type: "server_error");
    }
}
