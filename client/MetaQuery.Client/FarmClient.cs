using System.Globalization;
using System.Net.Http.Headers;
using System.Net.Http.Json;
using System.Text.Json;
using System.Text.Json.Serialization.Metadata;

namespace MetaQuery.Client;

/// <summary>A farm's web API, typed.</summary>
/// <remarks>
/// Thread-safe. Every method may throw <see cref="FarmApiException"/> (the farm refused), <see cref="FarmUnreachableException"/> (it was not there)
/// and <see cref="NotAFarmException"/> (something else was); they say by <see cref="FarmClientException.IsTransient"/> whether to try again.
/// </remarks>
public sealed partial class FarmClient : IDisposable
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(100);

    private readonly HttpClient _http;

    /// <param name="server">Such as <c>http://127.0.0.1:8080</c>.</param>
    /// <param name="key">An API key; null for a farm on loopback without keys.</param>
    /// <param name="handler">Null for the ordinary one; disposed with the client.</param>
    public FarmClient(Uri server, string? key = null, HttpMessageHandler? handler = null)
    {
        ArgumentNullException.ThrowIfNull(server);
        Server = server;
        _http = new HttpClient(handler ?? new SocketsHttpHandler { ConnectTimeout = TimeSpan.FromSeconds(10), PooledConnectionLifetime = TimeSpan.FromMinutes(5), MaxConnectionsPerServer = 2048 })
        {
            BaseAddress = new Uri(server.AbsoluteUri.TrimEnd('/') + "/"),
            Timeout = Timeout.InfiniteTimeSpan, // streams and uploads take as long as they take; the others have a limit of their own
        };
        if (key is not null)
        {
            _http.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", key);
        }
    }

    public Uri Server { get; }

    /// <summary>Takes a job whose prompts are in the request.</summary>
    /// <param name="idempotencyKey">The same key with the same content gives the job made before.</param>
    public Task<Job> CreateJobAsync(JobRequest job, string? idempotencyKey = null, CancellationToken cancellationToken = default) =>
        SendAsync(() => Keyed(new HttpRequestMessage(HttpMethod.Post, "v1/jobs") { Content = JsonContent.Create(job, FarmJson.Default.JobRequest) }, idempotencyKey), FarmJson.Default.Job, Patience, cancellationToken);

    /// <summary>Takes a job whose prompts are a file, which is sent as it is read.</summary>
    /// <param name="prompts">The file's content; disposed by this call.</param>
    /// <param name="fileName">Its ending says how it is written: .txt, .jsonl or .csv.</param>
    public Task<Job> UploadJobAsync(JobRequest job, Stream prompts, string fileName, string? idempotencyKey = null, CancellationToken cancellationToken = default) =>
        UploadJobAsync(job, prompts, fileName, [], idempotencyKey, cancellationToken);

    /// <summary>The same with the pictures that its lines name.</summary>
    /// <inheritdoc cref="UploadJobAsync(JobRequest, Stream, string, string?, CancellationToken)"/>
    /// <param name="pictures">Each is opened when its turn comes.</param>
    public Task<Job> UploadJobAsync(
        JobRequest job, Stream prompts, string fileName, IReadOnlyList<PictureUpload> pictures, string? idempotencyKey = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(fileName);
        ArgumentNullException.ThrowIfNull(pictures);
        var content = new MultipartFormDataContent
        {
            // the order matters: the server reads the file as it comes, knowing the job
            { JsonContent.Create(job, FarmJson.Default.JobRequest), "job" },
            { new StreamContent(prompts, 64 * 1024), "prompts", "prompts" + Path.GetExtension(fileName) },
        };
        foreach (PictureUpload picture in pictures)
        {
            content.Add(new PictureContent(picture));
        }

        return SendAsync(() => Keyed(Upload(content), idempotencyKey), FarmJson.Default.Job, Timeout.InfiniteTimeSpan, cancellationToken);
    }

    // a server that has no room says so before gigabytes are sent
    private static HttpRequestMessage Upload(HttpContent content)
    {
        var request = new HttpRequestMessage(HttpMethod.Post, "v1/jobs") { Content = content };
        request.Headers.ExpectContinue = true;
        return request;
    }

    /// <summary>A page of jobs, newest first.</summary>
    /// <param name="after">The page before's <see cref="JobList.Next"/>.</param>
    /// <param name="states">Of <see cref="JobStates"/>; null for all.</param>
    public Task<JobList> ListJobsAsync(int limit = 50, string? after = null, IEnumerable<string>? states = null, CancellationToken cancellationToken = default) =>
        GetAsync($"v1/jobs?limit={limit}{(after is null ? "" : "&after=" + Uri.EscapeDataString(after))}{(states is null ? "" : "&state=" + string.Join(',', states))}", FarmJson.Default.JobList, cancellationToken);

    public Task<Job> GetJobAsync(string id, CancellationToken cancellationToken = default) => GetAsync(JobPath(id), FarmJson.Default.Job, cancellationToken);

    public Task<Job> PauseJobAsync(string id, CancellationToken cancellationToken = default) => PostAsync(JobPath(id, "pause"), FarmJson.Default.Job, cancellationToken);

    public Task<Job> ResumeJobAsync(string id, CancellationToken cancellationToken = default) => PostAsync(JobPath(id, "resume"), FarmJson.Default.Job, cancellationToken);

    public Task<Job> CancelJobAsync(string id, CancellationToken cancellationToken = default) => PostAsync(JobPath(id, "cancel"), FarmJson.Default.Job, cancellationToken);

    public Task<Job> RetryFailedAsync(string id, CancellationToken cancellationToken = default) => PostAsync(JobPath(id, "retry-failed"), FarmJson.Default.Job, cancellationToken);

    /// <returns>The job as it stood before.</returns>
    public Task<Job> DeleteJobAsync(string id, CancellationToken cancellationToken = default) =>
        SendAsync(() => new HttpRequestMessage(HttpMethod.Delete, JobPath(id)), FarmJson.Default.Job, Patience, cancellationToken);

    public Task<SampleList> ListSamplesAsync(string id, long from = 0, int limit = 50, CancellationToken cancellationToken = default) =>
        GetAsync(JobPath(id, string.Create(CultureInfo.InvariantCulture, $"samples?from={from}&limit={limit}")), FarmJson.Default.SampleList, cancellationToken);

    public Task<Sample> GetSampleAsync(string id, long position, CancellationToken cancellationToken = default) =>
        GetAsync(JobPath(id, string.Create(CultureInfo.InvariantCulture, $"samples/{position}")), FarmJson.Default.Sample, cancellationToken);

    /// <returns>The picture's file.</returns>
    public async Task<byte[]> GetImageAsync(string id, long position, CancellationToken cancellationToken = default)
    {
        using HttpResponseMessage answer = await SendAsync(
            () => new HttpRequestMessage(HttpMethod.Get, JobPath(id, string.Create(CultureInfo.InvariantCulture, $"samples/{position}/image"))), HttpCompletionOption.ResponseContentRead, Patience, cancellationToken).ConfigureAwait(false);
        return await answer.Content.ReadAsByteArrayAsync(cancellationToken).ConfigureAwait(false);
    }

    public Task<FailureList> ListFailuresAsync(string id, int limit = 100, CancellationToken cancellationToken = default) => GetAsync(JobPath(id, $"failures?limit={limit}"), FarmJson.Default.FailureList, cancellationToken);

    public Task<FileList> ListFilesAsync(string id, CancellationToken cancellationToken = default) => GetAsync(JobPath(id, "files"), FarmJson.Default.FileList, cancellationToken);

    public Task<WorkerList> ListWorkersAsync(CancellationToken cancellationToken = default) => GetAsync("v1/workers", FarmJson.Default.WorkerList, cancellationToken);

    /// <summary>Asks a worker to finish what it has begun and to leave. Needs an admin's key.</summary>
    public Task<WorkerList> DrainWorkerAsync(string worker, CancellationToken cancellationToken = default) => PostAsync($"v1/workers/{Uri.EscapeDataString(worker)}/drain", FarmJson.Default.WorkerList, cancellationToken);

    /// <summary>A cluster's silos; none where the farm is no cluster. Needs an admin's key.</summary>
    public Task<SiloList> ListSilosAsync(CancellationToken cancellationToken = default) => GetAsync("v1/silos", FarmJson.Default.SiloList, cancellationToken);

    /// <summary>Asks a silo to finish what it has begun and to leave. Needs an admin's key.</summary>
    public Task<SiloList> DrainSiloAsync(string silo, CancellationToken cancellationToken = default) => PostAsync($"v1/silos/{Uri.EscapeDataString(silo)}/drain", FarmJson.Default.SiloList, cancellationToken);

    /// <summary>Asks a silo to have so many slots. Needs an admin's key.</summary>
    public Task<SiloList> ScaleSiloAsync(string silo, int slots, CancellationToken cancellationToken = default) => PostAsync($"v1/silos/{Uri.EscapeDataString(silo)}/scale?slots={slots}", FarmJson.Default.SiloList, cancellationToken);

    public Task<CacheReport> GetCacheAsync(CancellationToken cancellationToken = default) => GetAsync("v1/cache", FarmJson.Default.CacheReport, cancellationToken);

    public Task<Usage> GetUsageAsync(CancellationToken cancellationToken = default) => GetAsync("v1/usage", FarmJson.Default.Usage, cancellationToken);

    /// <summary>What a tenant is entitled to. Needs an admin's key.</summary>
    public Task<Tenant> GetTenantAsync(string tenant, CancellationToken cancellationToken = default) => GetAsync(TenantPath(tenant), FarmJson.Default.Tenant, cancellationToken);

    /// <summary>Sets what a tenant of a cluster is entitled to. Needs an admin's key.</summary>
    public Task<Tenant> SetTenantAsync(string tenant, TenantRequest rules, CancellationToken cancellationToken = default) => SendAsync(
        () => new HttpRequestMessage(HttpMethod.Put, TenantPath(tenant)) { Content = JsonContent.Create(rules, FarmJson.Default.TenantRequest) }, FarmJson.Default.Tenant, Patience, cancellationToken);

    /// <summary>Gives a tenant of a cluster back what its keys say. Needs an admin's key.</summary>
    public Task<Tenant> ResetTenantAsync(string tenant, CancellationToken cancellationToken = default) =>
        SendAsync(() => new HttpRequestMessage(HttpMethod.Delete, TenantPath(tenant)), FarmJson.Default.Tenant, Patience, cancellationToken);

    public Task<ModelList> ListModelsAsync(CancellationToken cancellationToken = default) => GetAsync("v1/models", FarmJson.Default.ModelList, cancellationToken);

    /// <summary>Makes pictures and waits for them.</summary>
    /// <param name="idempotencyKey">With one, a repetition after a broken connection gives the same pictures.</param>
    public Task<ImageResponse> GenerateImagesAsync(ImageRequest request, string? idempotencyKey = null, CancellationToken cancellationToken = default) =>
        SendAsync(
            () => Keyed(new HttpRequestMessage(HttpMethod.Post, "v1/images/generations") { Content = JsonContent.Create(request, FarmJson.Default.ImageRequest) }, idempotencyKey),
            FarmJson.Default.ImageResponse, Timeout.InfiniteTimeSpan, cancellationToken);

    /// <summary>Makes pictures of pictures and waits for them.</summary>
    /// <param name="pictures">Their files; <see cref="ImageEditRequest.Images"/> is not sent along.</param>
    /// <param name="idempotencyKey">With one, a repetition after a broken connection gives the same pictures.</param>
    public Task<ImageResponse> EditImagesAsync(
        ImageEditRequest request, IReadOnlyList<byte[]> pictures, string? idempotencyKey = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(request);
        ArgumentNullException.ThrowIfNull(pictures);
        ImageEditRequest whole = request with { Images = [.. pictures.Select(picture => "data:application/octet-stream;base64," + Convert.ToBase64String(picture))] };
        return SendAsync(
            () => Keyed(new HttpRequestMessage(HttpMethod.Post, "v1/images/edits") { Content = JsonContent.Create(whole, FarmJson.Default.ImageEditRequest) }, idempotencyKey),
            FarmJson.Default.ImageResponse, Timeout.InfiniteTimeSpan, cancellationToken);
    }

    public void Dispose() => _http.Dispose();

    private static string TenantPath(string tenant) => $"v1/tenants/{Uri.EscapeDataString(tenant)}";

    private static string JobPath(string id, string? rest = null) => $"v1/jobs/{Uri.EscapeDataString(id)}{(rest is null ? "" : "/" + rest)}";

    private static HttpRequestMessage Keyed(HttpRequestMessage request, string? idempotencyKey)
    {
        if (idempotencyKey is not null)
        {
            request.Headers.Add("Idempotency-Key", idempotencyKey);
        }

        return request;
    }

    private Task<T> GetAsync<T>(string path, JsonTypeInfo<T> type, CancellationToken cancellationToken) =>
        SendAsync(() => new HttpRequestMessage(HttpMethod.Get, path), type, Patience, cancellationToken);

    private Task<T> PostAsync<T>(string path, JsonTypeInfo<T> type, CancellationToken cancellationToken) =>
        SendAsync(() => new HttpRequestMessage(HttpMethod.Post, path), type, Patience, cancellationToken);

    private async Task<T> SendAsync<T>(Func<HttpRequestMessage> request, JsonTypeInfo<T> type, TimeSpan limit, CancellationToken cancellationToken)
    {
        using HttpResponseMessage answer = await SendAsync(request, HttpCompletionOption.ResponseContentRead, limit, cancellationToken).ConfigureAwait(false);
        try
        {
            return await answer.Content.ReadFromJsonAsync(type, cancellationToken).ConfigureAwait(false) ?? throw new JsonException("the answer is null");
        }
        catch (JsonException exception)
        {
            throw answer.Content.Headers.ContentType?.MediaType is "application/json"
                ? new FarmClientException($"{Server}: the answer is not what a farm says: {exception.Message}", exception)
                : new NotAFarmException(Server, answer.Content.Headers.ContentType?.MediaType ?? "an answer of no type", exception);
        }
    }

    private async Task<HttpResponseMessage> SendAsync(Func<HttpRequestMessage> make, HttpCompletionOption completion, TimeSpan limit, CancellationToken cancellationToken)
    {
        using var late = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        late.CancelAfter(limit);
        using HttpRequestMessage request = make();
        HttpResponseMessage answer;
        try
        {
            answer = await _http.SendAsync(request, completion, late.Token).ConfigureAwait(false);
        }
        catch (OperationCanceledException exception) when (!cancellationToken.IsCancellationRequested)
        {
            throw new FarmUnreachableException(Server, new TimeoutException($"no answer within {limit.TotalSeconds:0} seconds", exception));
        }
        catch (HttpRequestException exception)
        {
            throw new FarmUnreachableException(Server, exception);
        }

        if (answer.IsSuccessStatusCode)
        {
            return answer;
        }

        using (answer)
        {
            throw await ErrorAsync(answer, cancellationToken).ConfigureAwait(false);
        }
    }

    private async Task<FarmClientException> ErrorAsync(HttpResponseMessage answer, CancellationToken cancellationToken)
    {
        int status = (int)answer.StatusCode;
        Error? error = null;
        try
        {
            error = (await answer.Content.ReadFromJsonAsync(FarmJson.Default.ErrorResponse, cancellationToken).ConfigureAwait(false))?.Error;
        }
        catch (Exception exception) when (exception is JsonException or InvalidOperationException)
        {
            // not a farm's own answer: a proxy's page, perhaps; its status says what there is to say
        }

        var said = new FarmApiException(
            status, error ?? new Error($"{Server}: status {status} {answer.ReasonPhrase}", "unknown", null, null), answer.Headers.RetryAfter?.Delta,
            answer.Headers.TryGetValues("x-request-id", out IEnumerable<string>? ids) ? ids.FirstOrDefault() : null);
        return error is null && !said.IsTransient ? new NotAFarmException(Server, $"{status} {answer.ReasonPhrase}".TrimEnd()) : said; // a proxy says 502 to 504 for a farm that is away
    }
}
