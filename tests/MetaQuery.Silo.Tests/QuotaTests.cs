using System.IO.Pipelines;
using System.Net;
using System.Threading.RateLimiting;
using MetaQuery.Client;
using MetaQuery.Farm;
using MetaQuery.Silo.Tests.Doubles;
using MetaQuery.Silo.Web;

namespace MetaQuery.Silo.Tests;

/// <summary>Back-pressure: 429 with Retry-After, in OpenAI's shape.</summary>
public sealed class QuotaTests : IDisposable
{
    private static readonly TimeSpan Slow = TimeSpan.FromMinutes(10);
    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public async Task A_tenant_queues_no_more_images_than_its_key_says()
    {
        (ApiKey key, string text) = ApiKey.Create("a", false, 1, 10, null, DateTimeOffset.UtcNow);
        await using FarmTestHost host = await StartAsync(key, Slow);
        await (await PostAsync(host, text, 6)).JsonAsync(HttpStatusCode.Accepted);
        Assert.Contains("10 may be queued", await RefusedAsync(await PostAsync(host, text, 5)), StringComparison.Ordinal);
        await (await PostAsync(host, text, 4)).JsonAsync(HttpStatusCode.Accepted);
        using var client = new FarmClient(host.Url, text);
        Usage usage = await client.GetUsageAsync();
        Assert.Equal(("a", false, 10, 10, 10, null), (usage.Tenant, usage.Admin, usage.QueuedImages, usage.ImagesToday, usage.MaxQueuedImages, usage.ImagesPerDay));
    }

    [Fact]
    public async Task A_tenant_asks_for_no_more_images_a_day_than_its_key_says()
    {
        (ApiKey key, string text) = ApiKey.Create("a", false, 1, null, 7, DateTimeOffset.UtcNow);
        await using FarmTestHost host = await StartAsync(key, TimeSpan.Zero);
        await (await PostAsync(host, text, 7)).JsonAsync(HttpStatusCode.Accepted);
        Assert.Contains("7 a day", await RefusedAsync(await PostAsync(host, text, 1)), StringComparison.Ordinal);
    }

    [Fact]
    public async Task An_admin_sets_what_a_clusters_tenant_is_entitled_to_and_gives_back_what_its_key_says()
    {
        (ApiKey key, string text) = ApiKey.Create("a", false, 2, 10, null, DateTimeOffset.UtcNow);
        (ApiKey boss, string bossText) = ApiKey.Create("boss", true, 1, null, null, DateTimeOffset.UtcNow);
        var file = new ApiKeyFile(_folder.Path);
        file.Add(key);
        file.Add(boss);
        using var farm = new FakeCluster(Slow);
        await using FarmTestHost host = await FarmTestHost.StartAsync(farm, keys: new ApiKeyRing(file));
        using var tenant = new FarmClient(host.Url, text);
        using var admin = new FarmClient(host.Url, bossText);
        Assert.Equal(new Tenant("a", "tenant", 2, 10, null, "keys"), await admin.GetTenantAsync("a"));
        Assert.Equal(new Tenant("a", "tenant", 0.5, null, 7, "set"), await admin.SetTenantAsync("a", new TenantRequest { Weight = 0.5, ImagesPerDay = 7 }));
        Usage usage = await tenant.GetUsageAsync();
        Assert.Equal((null, 7), (usage.MaxQueuedImages, usage.ImagesPerDay));
        Assert.Equal(new Tenant("a", "tenant", 2, 10, null, "keys"), await admin.ResetTenantAsync("a"));
        Assert.Equal(10, (await tenant.GetUsageAsync()).MaxQueuedImages);

        Assert.Equal(403, (await Assert.ThrowsAsync<FarmApiException>(() => tenant.GetTenantAsync("a"))).Status);
        Assert.Equal(403, (await Assert.ThrowsAsync<FarmApiException>(() => tenant.SetTenantAsync("a", new TenantRequest()))).Status);
        Assert.Equal(400, (await Assert.ThrowsAsync<FarmApiException>(() => admin.SetTenantAsync("a", new TenantRequest { Weight = 0 }))).Status);
        Assert.Equal(400, (await Assert.ThrowsAsync<FarmApiException>(() => admin.GetTenantAsync("a b"))).Status);
    }

    [Fact]
    public async Task What_an_admin_set_holds_before_the_body_is_read_too_also_where_the_key_says_less()
    {
        (ApiKey key, string text) = ApiKey.Create("a", false, 1, null, 3, DateTimeOffset.UtcNow);
        var file = new ApiKeyFile(_folder.Path);
        file.Add(key);
        using var farm = new FakeCluster(TimeSpan.Zero);
        await using FarmTestHost host = await FarmTestHost.StartAsync(farm, keys: new ApiKeyRing(file));
        await farm.SetTenantRulesAsync("a", new TenantRules(1, null, 10), CancellationToken.None);
        await (await PostAsync(host, text, 3)).JsonAsync(HttpStatusCode.Accepted);
        await (await PostAsync(host, text, 7)).JsonAsync(HttpStatusCode.Accepted);
        Assert.Contains("10 a day", await RefusedAsync(await PostAsync(host, text, 1)), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Without_a_cluster_a_tenants_rules_are_its_keys_and_setting_them_is_refused()
    {
        (ApiKey boss, string text) = ApiKey.Create("boss", true, 3, 5, null, DateTimeOffset.UtcNow);
        await using FarmTestHost host = await StartAsync(boss, Slow);
        using var admin = new FarmClient(host.Url, text);
        Assert.Equal(new Tenant("boss", "tenant", 3, 5, null, "keys"), await admin.GetTenantAsync("boss"));
        FarmApiException refused = await Assert.ThrowsAsync<FarmApiException>(() => admin.SetTenantAsync("boss", new TenantRequest()));
        Assert.Equal((409, "not_a_cluster"), (refused.Status, refused.Error.Code));
    }

    [Fact]
    public async Task A_full_farm_says_when_to_come_again()
    {
        using var farm = new FakeFarm(TimeSpan.Zero) { Refusal = new QueueFullException("the queue is full", TimeSpan.FromSeconds(12.3)) };
        await using FarmTestHost host = await FarmTestHost.StartAsync(farm);
        HttpResponseMessage answer = await host.Http.PostJsonAsync("/v1/images/generations", """{"prompt":"x"}""");
        Assert.Equal(TimeSpan.FromSeconds(13), answer.Headers.RetryAfter!.Delta);
        Assert.Equal(("queue_full", "rate_limit_error"), (await answer.ErrorAsync(HttpStatusCode.TooManyRequests)) is var error ? (error.Code, error.Type) : default);
    }

    [Fact]
    public async Task A_tenant_that_asks_too_often_is_slowed_and_others_are_not()
    {
        (ApiKey a, string hasty) = ApiKey.Create("a", false, 1, null, null, DateTimeOffset.UtcNow);
        (ApiKey b, string calm) = ApiKey.Create("b", false, 1, null, null, DateTimeOffset.UtcNow);
        new ApiKeyFile(_folder.Path).Add(b);
        await using FarmTestHost host = await StartAsync(a, TimeSpan.Zero, new WebOptions { RequestsPerMinute = 60 });
        var statuses = new List<HttpStatusCode>();
        for (int i = 0; i < 30; i++)
        {
            statuses.Add((await host.Http.GetAsync("/v1/models", ("Authorization", "Bearer " + hasty))).StatusCode);
        }

        Assert.Equal(HttpStatusCode.OK, statuses[0]);
        HttpResponseMessage refused = await LastAsync();
        Assert.NotNull(refused.Headers.RetryAfter);
        Assert.Equal("rate_limit_exceeded", (await refused.ErrorAsync(HttpStatusCode.TooManyRequests)).Code);
        Assert.Equal(HttpStatusCode.OK, (await host.Http.GetAsync("/v1/models", ("Authorization", "Bearer " + calm))).StatusCode);

        async Task<HttpResponseMessage> LastAsync()
        {
            while (true)
            {
                HttpResponseMessage answer = await host.Http.GetAsync("/v1/models", ("Authorization", "Bearer " + hasty));
                if (answer.StatusCode == HttpStatusCode.TooManyRequests)
                {
                    return answer;
                }
            }
        }
    }

    [Theory]
    [InlineData(1)]
    [InlineData(100)]
    [InlineData(1_234)]
    [InlineData(6_000)]
    public void A_rate_is_kept_as_stated(int perMinute)
    {
        TokenBucketRateLimiterOptions bucket = TenantRateLimit.Bucket(perMinute);
        Assert.Equal(perMinute, bucket.TokensPerPeriod / bucket.ReplenishmentPeriod.TotalMinutes, perMinute * 1e-4);
    }

    [Fact]
    public async Task Only_so_many_requests_for_pictures_wait_at_a_time()
    {
        await using FarmTestHost host = await FarmTestHost.StartAsync(Slow, new WebOptions { MaxWaitingRequests = 2 });
        using var stop = new CancellationTokenSource();
        Task[] waiting = [.. Enumerable.Range(0, 2).Select(_ => host.Http.PostAsync("/v1/images/generations", new StringContent("""{"prompt":"x"}""", null, "application/json"), stop.Token))];
        await Eventually.Async(async () => (await host.Http.GetStringAsync("/metrics")).Contains("metaquery_web_waiting_requests{} 2", StringComparison.Ordinal));
        Assert.Equal("queue_full", (await (await host.Http.PostJsonAsync("/v1/images/generations", """{"prompt":"x"}""")).ErrorAsync(HttpStatusCode.TooManyRequests)).Code);
        await stop.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => Task.WhenAll(waiting));
        // who waits no more frees its place, and its job is cancelled
        await Eventually.Async(async () => (await host.Http.GetStringAsync("/metrics")).Contains("metaquery_web_waiting_requests{} 0", StringComparison.Ordinal));
        await Eventually.Async(async () => (await host.Http.GetStringAsync("/metrics")).Contains("metaquery_jobs{state=\"cancelled\"} 2", StringComparison.Ordinal));
    }

    [Fact]
    public async Task A_tenant_cannot_take_all_places_of_those_that_wait_or_watch()
    {
        (ApiKey a, string crowded) = ApiKey.Create("a", false, 1, null, null, DateTimeOffset.UtcNow);
        (ApiKey b, string calm) = ApiKey.Create("b", false, 1, null, null, DateTimeOffset.UtcNow);
        new ApiKeyFile(_folder.Path).Add(b);
        await using FarmTestHost host = await StartAsync(a, Slow, new WebOptions { MaxWaitingRequestsOfTenant = 1, MaxEventStreamsOfTenant = 1, OpenMetrics = true });
        using var stop = new CancellationTokenSource();
        Task waiting = GenerateAsync(crowded, stop.Token);
        await MetricAsync("metaquery_web_waiting_requests{} 1");
        Assert.Contains("for tenant a", (await (await GenerateAsync(crowded)).ErrorAsync(HttpStatusCode.TooManyRequests)).Message, StringComparison.Ordinal);
        Task other = GenerateAsync(calm, stop.Token);
        await MetricAsync("metaquery_web_waiting_requests{} 2");
        await stop.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => Task.WhenAll(waiting, other));
        await MetricAsync("metaquery_web_waiting_requests{} 0");

        using HttpResponseMessage first = await WatchAsync(crowded);
        Assert.Equal(HttpStatusCode.OK, first.StatusCode);
        using HttpResponseMessage second = await WatchAsync(crowded);
        Assert.Equal("too_many_streams", (await second.ErrorAsync(HttpStatusCode.TooManyRequests)).Code);
        using HttpResponseMessage others = await WatchAsync(calm);
        Assert.Equal(HttpStatusCode.OK, others.StatusCode);
        first.Dispose(); // who leaves frees its place
        await Eventually.Async(async () =>
        {
            using HttpResponseMessage third = await WatchAsync(crowded);
            return third.StatusCode == HttpStatusCode.OK;
        });

        Task MetricAsync(string line) => Eventually.Async(async () => (await host.Http.GetStringAsync("/metrics")).Contains(line, StringComparison.Ordinal));

        Task<HttpResponseMessage> GenerateAsync(string key, CancellationToken left = default)
        {
            var request = new HttpRequestMessage(HttpMethod.Post, "/v1/images/generations") { Content = new StringContent("""{"prompt":"x"}""", null, "application/json") };
            request.Headers.Authorization = new("Bearer", key);
            return host.Http.SendAsync(request, left);
        }

        async Task<HttpResponseMessage> WatchAsync(string key)
        {
            string id = (await (await PostAsync(host, key, 1)).JsonAsync(HttpStatusCode.Accepted)).GetProperty("id").GetString()!;
            var request = new HttpRequestMessage(HttpMethod.Get, $"/v1/jobs/{id}/events");
            request.Headers.Authorization = new("Bearer", key);
            return await host.Http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead);
        }
    }

    [Theory]
    [InlineData("/v1/images/generations", "application/json")]
    [InlineData("/v1/images/edits", "application/json")]
    [InlineData("/v1/images/edits", "multipart/form-data; boundary=x")]
    public async Task The_body_of_a_request_that_finds_no_place_is_not_read(string path, string mediaType)
    {
        (ApiKey a, string crowded) = ApiKey.Create("a", false, 1, null, null, DateTimeOffset.UtcNow);
        await using FarmTestHost host = await StartAsync(a, Slow, new WebOptions { MaxWaitingRequestsOfTenant = 1, OpenMetrics = true });
        using var stop = new CancellationTokenSource();
        var first = new HttpRequestMessage(HttpMethod.Post, "/v1/images/generations") { Content = new StringContent("""{"prompt":"x"}""", null, "application/json") };
        first.Headers.Authorization = new("Bearer", crowded);
        Task waiting = host.Http.SendAsync(first, stop.Token);
        await Eventually.Async(async () => (await host.Http.GetStringAsync("/metrics")).Contains("metaquery_web_waiting_requests{} 1", StringComparison.Ordinal));
        (HttpRequestMessage request, UnsentContent body) = UnsentContent.Post(path, mediaType, crowded);
        Assert.Contains("for tenant a", await RefusedAsync(await host.Http.SendAsync(request)), StringComparison.Ordinal);
        Assert.False(body.WasAskedFor);
        await stop.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => waiting);
    }

    [Fact]
    public async Task Bodies_with_pictures_take_so_many_bytes_of_memory_at_a_time_and_give_them_back()
    {
        await using FarmTestHost host = await FarmTestHost.StartAsync(TimeSpan.Zero, new WebOptions { MaxPictureBytesAtOnce = 100_000 });
        Pipe[] pipes = [new(), new()];
        Task<HttpResponseMessage>[] slow = [.. pipes.Select(pipe =>
        {
            var body = new StreamContent(pipe.Reader.AsStream());
            (body.Headers.ContentType, body.Headers.ContentLength) = (new("application/json"), 60_000);
            return host.Http.PostAsync("/v1/images/edits", body);
        })];
        await Task.WhenAll(pipes.Select(async pipe => await pipe.Writer.WriteAsync(new byte[20_000]))); // the client sends nothing before its buffer is full
        await Eventually.Async(async () => (await host.Http.GetStringAsync("/metrics")).Contains("metaquery_web_waiting_requests{} 2", StringComparison.Ordinal));
        HttpResponseMessage? refused = null;
        await Eventually.Async(async () => (refused = await AskAsync()).StatusCode == HttpStatusCode.TooManyRequests);
        Assert.Contains("100000 bytes", await RefusedAsync(refused!), StringComparison.Ordinal);
        foreach (Pipe pipe in pipes)
        {
            await pipe.Writer.WriteAsync(new byte[40_000]);
            await pipe.Writer.CompleteAsync();
        }

        Assert.All(await Task.WhenAll(slow), answer => Assert.Equal(HttpStatusCode.BadRequest, answer.StatusCode));
        Assert.Equal(HttpStatusCode.BadRequest, (await AskAsync()).StatusCode); // no picture: it was read

        Task<HttpResponseMessage> AskAsync() => host.Http.PostJsonAsync("/v1/images/edits", """{"prompt":"x"}""");
    }

    private static async Task<string> RefusedAsync(HttpResponseMessage answer)
    {
        Assert.True(answer.Headers.RetryAfter?.Delta >= TimeSpan.FromSeconds(1));
        return (await answer.ErrorAsync(HttpStatusCode.TooManyRequests)).Message;
    }

    private static Task<HttpResponseMessage> PostAsync(FarmTestHost host, string key, int images) =>
        host.Http.PostJsonAsync("/v1/jobs", $$"""{"prompts":["x"],"images_per_prompt":{{images}}}""", ("Authorization", "Bearer " + key));

    private Task<FarmTestHost> StartAsync(ApiKey key, TimeSpan timePerImage, WebOptions? options = null)
    {
        new ApiKeyFile(_folder.Path).Add(key);
        return FarmTestHost.StartAsync(timePerImage, options, new ApiKeyRing(new ApiKeyFile(_folder.Path)));
    }
}
