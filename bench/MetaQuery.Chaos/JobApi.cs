using System.Globalization;
using System.Net.Http.Headers;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace MetaQuery.Chaos;

/// <summary>A job as the head tells it.</summary>
internal sealed record JobStatus(string State, string? Reason, long Images, long Written, long Failed)
{
    public bool IsFinal => State is "completed" or "completed_with_errors" or "cancelled" or "failed";
}

/// <summary>Speaks to the head as any program would: plain HTTP and JSON, and patience while it is away. Of several addresses it takes another where one does not answer.</summary>
internal sealed class JobApi(params string[] addresses) : IDisposable
{
    private readonly HttpClient[] _clients = [.. addresses.Select(address => new HttpClient { BaseAddress = new Uri(address), Timeout = TimeSpan.FromSeconds(10) })];
    private int _current;

    private HttpClient Http => _clients[_current];

    /// <summary>Submits a job; the same name again is the same job, so that a lost answer is asked for again.</summary>
    /// <returns>Its id; null while the head cannot be reached.</returns>
    /// <exception cref="ChaosException">It was refused.</exception>
    public async Task<string?> TrySubmitAsync(JobCase job, string name)
    {
        var settings = new JsonObject
        {
            ["name"] = name,
            ["images_per_prompt"] = job.ImagesPerPrompt,
            ["steps"] = job.Steps,
            ["guidance"] = job.Guidance,
            ["seed"] = job.Seed,
            ["samples_per_shard"] = job.SamplesPerShard,
            ["format"] = job.Format,
            ["batch_size"] = job.BatchSize,
            ["priority"] = job.Priority,
        };
        using var body = new MultipartFormDataContent
        {
            { new StringContent(settings.ToJsonString(), Encoding.UTF8, "application/json"), "job" },
        };
        var file = new ByteArrayContent(await File.ReadAllBytesAsync(job.PromptFile));
        file.Headers.ContentType = new MediaTypeHeaderValue("application/octet-stream");
        body.Add(file, "prompts", Path.GetFileName(job.PromptFile));
        using var request = new HttpRequestMessage(HttpMethod.Post, "/v1/jobs") { Content = body };
        request.Headers.Add("Idempotency-Key", name); // a lost answer is asked for again
        return (await TrySendAsync(request))?["id"]?.GetValue<string>();
    }

    /// <returns>Null while the head cannot be reached.</returns>
    public async Task<JobStatus?> TryGetAsync(string id)
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, $"/v1/jobs/{id}");
        if (await TrySendAsync(request) is not { } job)
        {
            return null;
        }

        var counts = job["counts"]!;
        return new JobStatus(
            job["state"]!.GetValue<string>(), job["reason"]?.GetValue<string>(), counts["images"]!.GetValue<long>(),
            counts["written"]!.GetValue<long>(), counts["failed"]!.GetValue<long>());
    }

    /// <summary>A figure of <c>/metrics</c>, summed over its labels; null while the head cannot be reached or where there is none.</summary>
    public async Task<double?> TryReadMetricAsync(string name)
    {
        try
        {
            var text = await Http.GetStringAsync("/metrics");
            double[] values =
            [
                .. text.Split('\n').Where(line => line.StartsWith(name + " ", StringComparison.Ordinal) || line.StartsWith(name + "{", StringComparison.Ordinal))
                    .Select(line => double.Parse(line.Split(' ')[^1], CultureInfo.InvariantCulture)),
            ];
            return values.Length == 0 ? null : values.Sum();
        }
        catch (Exception exception) when (exception is HttpRequestException or TaskCanceledException)
        {
            TakeNext();
            return null;
        }
    }

    /// <summary>Silos that say that they are there; 0 while nobody says.</summary>
    public async Task<int> TryCountSilosAsync()
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, "/v1/silos");
        var silos = await TrySendAsync(request);
        return silos?["data"]!.AsArray().Count(silo => silo!["state"]!.GetValue<string>() == "active") ?? 0;
    }

    /// <summary>The process that holds the head of a cluster; null while nobody says.</summary>
    public async Task<int?> TryFindHeadProcessAsync()
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, "/v1/silos");
        var silos = await TrySendAsync(request);
        return silos?["data"]!.AsArray().FirstOrDefault(silo => silo!["head"]!.GetValue<bool>())?["process_id"]!.GetValue<int>();
    }

    public void Dispose() => Array.ForEach(_clients, client => client.Dispose());

    private void TakeNext() => _current = (_current + 1) % _clients.Length;

    private async Task<JsonNode?> TrySendAsync(HttpRequestMessage request)
    {
        try
        {
            using var response = await Http.SendAsync(request);
            var text = await response.Content.ReadAsStringAsync();
            if (response.IsSuccessStatusCode)
            {
                return JsonNode.Parse(text);
            }

            TakeNext();
            return (int)response.StatusCode is 429 or >= 500
                ? null
                : throw new ChaosException($"{request.Method} {request.RequestUri}: {(int)response.StatusCode} {text}");
        }
        catch (Exception exception) when (exception is HttpRequestException or TaskCanceledException or JsonException)
        {
            TakeNext();
            return null;
        }
    }
}
