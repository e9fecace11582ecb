using System.Globalization;
using MetaQuery.Client;
using MetaQuery.Farm;
using MetaQuery.Imaging;
using Microsoft.AspNetCore.Http;

namespace MetaQuery.Silo.Web;

/// <summary>Marks an endpoint whose request may carry an Idempotency-Key.</summary>
internal sealed record IdempotencyKeyHeader
{
    public const string Name = "Idempotency-Key";
    public const int MostCharacters = 255;

    /// <exception cref="ApiException">Too long, or not printable ASCII.</exception>
    public static string? Read(HttpContext context) => context.Request.Headers[Name] switch
    {
        [] => null,
        [{ Length: > 0 and <= MostCharacters } key] when key.All(letter => letter is > ' ' and <= '~') => key,
        _ => throw ApiException.Invalid(Name, $"{Name} must be 1 to {MostCharacters} printable ASCII characters without blanks"),
    };
}

/// <summary>Turns a request for a job, as JSON or as an uploaded file, into the farm's submission.</summary>
internal sealed class JobSubmissions(IFarm farm, ITenantDirectory tenants, WebOptions options)
{
    /// <exception cref="ApiException">A field is wrong.</exception>
    /// <exception cref="FarmException">The farm refuses the job.</exception>
    public async Task<JobView> TakeAsync(HttpContext context)
    {
        string? key = IdempotencyKeyHeader.Read(context);
        if (key is null) // else it may be a repetition of a job that is there, which needs no room
        {
            await CheckRoomAsync(Caller.Of(context).Tenant, context.RequestAborted);
        }

        if (context.Request.HasFormContentType)
        {
            using PromptUpload upload = await PromptUpload.OpenAsync(context, options.MaxUploadBytes);
            JobSubmission uploaded = ToSubmission(upload.Job, Caller.Of(context).Tenant, key) with
            {
                Prompts = upload.Prompts,
                PromptsFormat = upload.Format,
                Pictures = upload.ReadPicturesAsync(context.RequestAborted),
            };
            return await farm.SubmitAsync(uploaded, context.RequestAborted);
        }

        JobRequest request = await RequestBody.ReadAsync(context, FarmJson.Default.JobRequest, options.MaxBodyBytes);
        if (request.Prompts is null)
        {
            throw ApiException.Invalid("prompts", "prompts is missing: a list of texts, or a file uploaded as multipart/form-data", "missing_field");
        }

        for (int i = 0; i < request.Prompts.Count; i++)
        {
            CheckPrompt(request.Prompts[i], $"prompts[{i}]");
        }

        if (request.PromptsFormat is not null)
        {
            throw ApiException.Invalid("prompts_format", "prompts_format is said of an uploaded file only");
        }

        return await farm.SubmitAsync(ToSubmission(request, Caller.Of(context).Tenant, key), context.RequestAborted);
    }

    /// <exception cref="ApiException">Blank, or longer than a prompt may be.</exception>
    public static void CheckPrompt(string prompt, string name)
    {
        if (string.IsNullOrWhiteSpace(prompt))
        {
            throw ApiException.Invalid(name, $"{name} is empty");
        }

        if (prompt.Length > JobRequest.MaxPromptCharacters)
        {
            throw ApiException.Invalid(name, $"{name} has {prompt.Length} characters; at most {JobRequest.MaxPromptCharacters} are taken");
        }
    }

    /// <param name="size">WIDTHxHEIGHT, auto or null.</param>
    /// <exception cref="ApiException">The model cannot make it.</exception>
    public static ImageSize? ParseSize(string? size, ImageModelInfo model)
    {
        if (size is null or "auto")
        {
            return null;
        }

        string[] sides = size.Split('x');
        var parsed = new ImageSize(int.Parse(sides[1], CultureInfo.InvariantCulture), int.Parse(sides[0], CultureInfo.InvariantCulture));
        foreach (int side in (int[])[parsed.WidthPixels, parsed.HeightPixels])
        {
            if (side < model.MinSizePixels || side > model.MaxSizePixels || side % model.SizeMultiplePixels != 0)
            {
                throw ApiException.Invalid(
                    "size", $"size {size} cannot be made by model {model.ModelName}: multiples of {model.SizeMultiplePixels} from {model.MinSizePixels} to {model.MaxSizePixels} can");
            }
        }

        return parsed;
    }

    // whoever has no room for a single picture is told so before the body is read: it may be gigabytes
    private async Task CheckRoomAsync(string tenant, CancellationToken cancellationToken)
    {
        (TenantRules rules, _) = await TenantEndpoints.RulesOfAsync(farm, tenants, tenant, cancellationToken);
        if ((rules.MaxQueuedImages ?? rules.ImagesPerDay) is not null)
        {
            rules.Check(await farm.GetUsageAsync(tenant, cancellationToken), images: 1, DateTimeOffset.UtcNow);
        }
    }

    private JobSubmission ToSubmission(JobRequest request, string tenant, string? idempotencyKey)
    {
        if (request.Name?.Any(char.IsControl) == true)
        {
            throw ApiException.Invalid("name", "name holds a control character");
        }

        if (request.Deadline <= DateTimeOffset.UtcNow)
        {
            throw ApiException.Invalid("deadline", $"deadline {request.Deadline:u} has passed already");
        }

        return new JobSubmission
        {
            Spec = new JobSpec
            {
                OutFolder = "",
                Prompts = request.Prompts,
                ImagesPerPrompt = request.ImagesPerPrompt ?? 1,
                Size = ParseSize(request.Size, farm.Model),
                NumInferenceSteps = request.Steps,
                GuidanceScale = request.Guidance,
                ImageGuidanceScale = request.ImageGuidance,
                NegativePrompt = request.NegativePrompt ?? "",
                Seed = request.Seed ?? 0,
                SamplesPerShard = request.SamplesPerShard ?? 10_000,
                Format = ImageEncoder.Parse(request.Format ?? "png")!.Value,
                Quality = request.Quality ?? 95,
                BatchSize = request.BatchSize,
                Priority = request.Priority == "interactive" ? JobPriority.Interactive : JobPriority.Bulk,
                SkipInvalid = request.SkipInvalid ?? false,
            },
            Tenant = tenant,
            Name = request.Name ?? "",
            IdempotencyKey = idempotencyKey,
            Deadline = request.Deadline,
            TaskTimeout = request.TaskTimeoutSeconds is { } seconds ? TimeSpan.FromSeconds(seconds) : null,
        };
    }
}
