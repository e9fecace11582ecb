using System.Net;
using System.Text.Json;
using MetaQuery.Client;
using MetaQuery.Silo.Tests.Doubles;
using MetaQuery.Silo.Web;

namespace MetaQuery.Silo.Tests;

/// <summary>Keys, tenants, and what a web page of another site may not do.</summary>
public sealed class AccessTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public async Task With_keys_everything_but_health_and_page_needs_one()
    {
        Add("a", admin: false);
        await using FarmTestHost host = await StartAsync();
        foreach (string path in (string[])["/v1/jobs", "/v1/models", "/v1/workers", "/v1/usage", "/metrics", "/v1/jobs/job_00001/events"])
        {
            Error error = await (await host.Http.GetAsync(path)).ErrorAsync(HttpStatusCode.Unauthorized);
            Assert.Equal(("Authorization", "invalid_api_key"), (error.Param, error.Code));
        }

        await (await host.Http.GetAsync("/v1/jobs", ("Authorization", "Bearer mq_wrong"))).ErrorAsync(HttpStatusCode.Unauthorized);
        await (await host.Http.GetAsync("/v1/jobs", ("Authorization", "Basic abc"))).ErrorAsync(HttpStatusCode.Unauthorized);
        await (await host.Http.GetAsync("/healthz")).JsonAsync();
        await (await host.Http.GetAsync("/readyz")).JsonAsync();
        await (await host.Http.GetAsync("/openapi/v1.json")).JsonAsync();
        Assert.Equal(HttpStatusCode.OK, (await host.Http.GetAsync("/")).StatusCode);
    }

    [Fact]
    public async Task Metrics_are_open_where_the_server_is_told_so_and_nothing_else_is()
    {
        Add("a", admin: false);
        await using FarmTestHost host = await FarmTestHost.StartAsync(options: new WebOptions { OpenMetrics = true }, keys: new ApiKeyRing(new ApiKeyFile(_folder.Path)));
        Assert.Contains("metaquery_ready{} 1", await host.Http.GetStringAsync("/metrics"), StringComparison.Ordinal);
        await (await host.Http.GetAsync("/v1/workers")).ErrorAsync(HttpStatusCode.Unauthorized);
    }

    [Fact]
    public async Task A_tenant_sees_its_own_jobs_only_and_an_admin_all()
    {
        string a = Add("a", admin: false), b = Add("b", admin: false), admin = Add("ops", admin: true);
        await using FarmTestHost host = await StartAsync();
        string id = (await (await host.Http.PostJsonAsync("/v1/jobs", """{"prompts":["x"]}""", Bearer(a))).JsonAsync(HttpStatusCode.Accepted)).GetProperty("id").GetString()!;
        Assert.Single((await (await host.Http.GetAsync("/v1/jobs", Bearer(a))).JsonAsync()).GetProperty("data").EnumerateArray());
        Assert.Empty((await (await host.Http.GetAsync("/v1/jobs", Bearer(b))).JsonAsync()).GetProperty("data").EnumerateArray());
        Assert.Single((await (await host.Http.GetAsync("/v1/jobs", Bearer(admin))).JsonAsync()).GetProperty("data").EnumerateArray());
        foreach (string path in (string[])["", "/events", "/samples", "/samples/0", "/samples/0/image", "/samples/0/thumbnail", "/failures", "/files", "/files/00000.tar"])
        {
            await (await host.Http.GetAsync($"/v1/jobs/{id}{path}", Bearer(b))).ErrorAsync(HttpStatusCode.NotFound);
        }

        using var steer = new HttpRequestMessage(HttpMethod.Post, $"/v1/jobs/{id}/cancel");
        steer.Headers.TryAddWithoutValidation("Authorization", "Bearer " + b);
        await (await host.Http.SendAsync(steer)).ErrorAsync(HttpStatusCode.NotFound);
        Assert.Equal("not_admin", (await (await host.Http.GetAsync("/metrics", Bearer(a))).ErrorAsync(HttpStatusCode.Forbidden)).Code);
        Assert.Equal(HttpStatusCode.OK, (await host.Http.GetAsync("/metrics", Bearer(admin))).StatusCode);
        Assert.Equal("not_admin", (await (await host.Http.PostJsonAsync("/v1/workers/worker-a/drain", "", Bearer(a))).ErrorAsync(HttpStatusCode.Forbidden)).Code);
        await (await host.Http.PostJsonAsync("/v1/workers/worker-a/drain", "", Bearer(admin))).JsonAsync(HttpStatusCode.Accepted);
    }

    [Fact]
    public async Task A_key_added_or_revoked_counts_on_a_running_server_and_the_last_one_leaves_it_closed()
    {
        var time = new SteppingClock();
        string first = Add("a", admin: true);
        await using FarmTestHost host = await StartAsync(time);
        string second = Add("b", admin: false);
        time.Advance(TimeSpan.FromSeconds(2));
        await (await host.Http.GetAsync("/v1/jobs", Bearer(second))).JsonAsync();
        var file = new ApiKeyFile(_folder.Path);
        foreach (ApiKey key in file.Read())
        {
            file.Revoke(key.Id, DateTimeOffset.UtcNow);
        }

        time.Advance(TimeSpan.FromSeconds(2));
        await (await host.Http.GetAsync("/v1/jobs", Bearer(first))).ErrorAsync(HttpStatusCode.Unauthorized);
        await (await host.Http.GetAsync("/v1/jobs")).ErrorAsync(HttpStatusCode.Unauthorized);
        File.Delete(_folder["keys.json"]);
        time.Advance(TimeSpan.FromSeconds(2));
        await (await host.Http.GetAsync("/v1/jobs")).ErrorAsync(HttpStatusCode.Unauthorized);
    }

    [Fact]
    public async Task Without_keys_any_bearer_is_taken_on_loopback()
    {
        await using FarmTestHost host = await FarmTestHost.StartAsync();
        await (await host.Http.GetAsync("/v1/models", Bearer("sk-anything"))).JsonAsync();
        await (await host.Http.GetAsync("/v1/models")).JsonAsync();
    }

    [Theory]
    [InlineData("http://0.0.0.0:0")]
    [InlineData("http://*:0")]
    [InlineData("http://192.0.2.7:8080")]
    [InlineData("http://farm.example.org")]
    [InlineData("http://[::]:0")]
    public async Task Off_loopback_it_refuses_to_start_without_keys(string url)
    {
        var keys = new ApiKeyRing(new ApiKeyFile(_folder.Path));
        var refused = await Assert.ThrowsAsync<WebStartException>(() => FarmWebServer.StartAsync(new FakeFarm(TimeSpan.Zero), keys, new WebOptions { Urls = [url] }));
        Assert.Contains("./farm keys add", refused.Message, StringComparison.Ordinal);
        Assert.DoesNotContain('\n', refused.Message);
    }

    [Fact]
    public async Task Pages_of_other_sites_cannot_steer_a_farm_on_loopback()
    {
        await using FarmTestHost host = await FarmTestHost.StartAsync(options: new WebOptions { AllowedOrigins = ["https://friend.example"] });
        const string Body = """{"prompts":["x"]}""";
        Assert.Equal("Origin", (await (await host.Http.PostJsonAsync("/v1/jobs", Body, ("Origin", "https://evil.example"))).ErrorAsync(HttpStatusCode.Forbidden)).Param);
        Assert.Equal("Origin", (await (await host.Http.PostJsonAsync("/v1/jobs", Body, ("Origin", "null"))).ErrorAsync(HttpStatusCode.Forbidden)).Param);
        Assert.Equal("Host", (await (await host.Http.GetAsync("/v1/jobs", ("Host", "rebound.example"))).ErrorAsync(HttpStatusCode.Forbidden)).Param);
        await (await host.Http.PostJsonAsync("/v1/jobs", Body, ("Origin", host.Url.GetLeftPart(UriPartial.Authority)))).JsonAsync(HttpStatusCode.Accepted);
        HttpResponseMessage friend = await host.Http.PostJsonAsync("/v1/jobs", Body, ("Origin", "https://friend.example"));
        Assert.Equal("https://friend.example", Assert.Single(friend.Headers.GetValues("Access-Control-Allow-Origin")));
        HttpResponseMessage stranger = await host.Http.GetAsync("/v1/jobs", ("Origin", "https://evil.example"));
        Assert.False(stranger.Headers.Contains("Access-Control-Allow-Origin"));
    }

    [Fact]
    public async Task A_signed_address_serves_its_own_picture_for_an_hour_and_nothing_else()
    {
        var time = new SteppingClock();
        string key = Add("a", admin: false);
        await using FarmTestHost host = await StartAsync(time);
        string id = (await (await host.Http.PostJsonAsync("/v1/jobs", """{"prompts":["x","y"]}""", Bearer(key))).JsonAsync(HttpStatusCode.Accepted)).GetProperty("id").GetString()!;
        using var client = new FarmClient(host.Url, key);
        await foreach (JobEvent _ in client.WatchJobAsync(id))
        {
        }

        string url = (await client.ListSamplesAsync(id)).Data[0].ImageUrl;
        Assert.Equal(HttpStatusCode.OK, (await host.Http.GetAsync(url)).StatusCode);
        using var head = new HttpRequestMessage(HttpMethod.Head, url);
        Assert.Equal(HttpStatusCode.OK, (await host.Http.SendAsync(head)).StatusCode);
        using var health = new HttpRequestMessage(HttpMethod.Head, "/readyz");
        Assert.Equal(HttpStatusCode.OK, (await host.Http.SendAsync(health)).StatusCode);
        Assert.Equal(HttpStatusCode.OK, (await host.Http.GetAsync((await client.ListFilesAsync(id)).Data[0].Url)).StatusCode);
        await (await host.Http.GetAsync(url.Replace("/samples/0/", "/samples/1/", StringComparison.Ordinal))).ErrorAsync(HttpStatusCode.Forbidden);
        await (await host.Http.GetAsync(url.Replace("expires=", "expires=9", StringComparison.Ordinal))).ErrorAsync(HttpStatusCode.Forbidden);
        await (await host.Http.GetAsync("/v1/jobs?" + url.Split('?')[1])).ErrorAsync(HttpStatusCode.Forbidden);
        await (await host.Http.PostAsync($"/v1/jobs/{id}/cancel?" + url.Split('?')[1], null)).ErrorAsync(HttpStatusCode.Unauthorized);
        time.Advance(TimeSpan.FromHours(2));
        Assert.Equal("expired_url", (await (await host.Http.GetAsync(url)).ErrorAsync(HttpStatusCode.Forbidden)).Code);
    }

    [Fact]
    public async Task Behind_a_proxy_that_ends_TLS_a_page_works_with_a_key()
    {
        string key = Add("a", admin: false);
        await using FarmTestHost host = await StartAsync();
        (string, string)[] proxied = [Bearer(key), ("Origin", "https://farm.example.org"), ("X-Forwarded-Proto", "https"), ("X-Forwarded-For", "192.0.2.7")];
        await (await host.Http.PostJsonAsync("/v1/jobs", """{"prompts":["x"]}""", proxied)).JsonAsync(HttpStatusCode.Accepted);
        await (await host.Http.PostJsonAsync("/v1/jobs", """{"prompts":["x"]}""", proxied[1..])).ErrorAsync(HttpStatusCode.Unauthorized);
    }

    [Theory]
    [InlineData("Forwarded", "for=192.0.2.7")]
    [InlineData("Via", "1.1 proxy")]
    [InlineData("X-Forwarded-For", "192.0.2.7")]
    [InlineData("X-Real-IP", "192.0.2.7")]
    public async Task Without_keys_nothing_is_answered_through_a_proxy(string header, string value)
    {
        await using FarmTestHost host = await FarmTestHost.StartAsync();
        Error error = await (await host.Http.GetAsync("/v1/jobs", (header, value))).ErrorAsync(HttpStatusCode.Forbidden);
        Assert.Equal((header, "proxy_without_keys"), (error.Param, error.Code));
    }

    [Fact]
    public async Task A_keys_file_that_is_damaged_while_the_farm_runs_leaves_the_keys_as_they_were_and_is_told_once()
    {
        var time = new SteppingClock();
        string key = Add("a", admin: false);
        var ring = new ApiKeyRing(new ApiKeyFile(_folder.Path), time);
        var told = new List<string>();
        ring.Unreadable += (_, reason) => told.Add(reason);
        await using FarmTestHost host = await FarmTestHost.StartAsync(keys: ring, time: time);
        await File.WriteAllTextAsync(_folder["keys.json"], "{");
        await CheckAsync(1);
        File.Delete(_folder["keys.json"]);
        Directory.CreateDirectory(_folder["keys.json"]); // nobody can read it as a file, not even root
        await CheckAsync(2);
        Directory.Delete(_folder["keys.json"]);
        string other = Add("b", admin: false);
        time.Advance(TimeSpan.FromSeconds(2));
        await (await host.Http.GetAsync("/v1/jobs", Bearer(other))).JsonAsync();
        await (await host.Http.GetAsync("/v1/jobs", Bearer(key))).ErrorAsync(HttpStatusCode.Unauthorized);

        async Task CheckAsync(int complaints)
        {
            for (int i = 0; i < 2; i++)
            {
                time.Advance(TimeSpan.FromSeconds(2));
                await (await host.Http.GetAsync("/v1/jobs", Bearer(key))).JsonAsync();
                await (await host.Http.GetAsync("/v1/jobs")).ErrorAsync(HttpStatusCode.Unauthorized);
            }

            Assert.Equal(complaints, told.Count);
        }
    }

    [Fact]
    public async Task Workers_show_a_tenant_its_own_jobs_and_no_hosts()
    {
        string a = Add("a", admin: false), b = Add("b", admin: false), admin = Add("ops", admin: true);
        await using FarmTestHost host = await FarmTestHost.StartAsync(TimeSpan.FromMinutes(10), keys: new ApiKeyRing(new ApiKeyFile(_folder.Path)));
        string own = await SubmitAsync(a), other = await SubmitAsync(b);
        await Eventually.Async(async () => (await JobsAsync(admin)).Count == 2);
        Assert.Equal([own], await JobsAsync(a));
        Assert.Equal([other], await JobsAsync(b));
        JsonElement seen = await WorkerAsync(a);
        Assert.Equal((JsonValueKind.Null, JsonValueKind.Null), (seen.GetProperty("host").ValueKind, seen.GetProperty("process_id").ValueKind));
        Assert.Equal("toyhost", (await WorkerAsync(admin)).GetProperty("host").GetString());

        async Task<string> SubmitAsync(string key) => (await (await host.Http.PostJsonAsync("/v1/jobs", """{"prompts":["x"]}""", Bearer(key))).JsonAsync(HttpStatusCode.Accepted)).GetProperty("id").GetString()!;
        async Task<JsonElement> WorkerAsync(string key) => (await (await host.Http.GetAsync("/v1/workers", Bearer(key))).JsonAsync()).GetProperty("data")[0];
        async Task<List<string?>> JobsAsync(string key) => [.. (await WorkerAsync(key)).GetProperty("slots")[0].GetProperty("jobs").EnumerateArray().Select(job => job.GetString())];
    }

    [Theory]
    [InlineData("https://127.0.0.1:0", "TLS")]
    [InlineData("http://192.0.2.7:8080", "cannot listen")]
    public async Task An_address_that_cannot_be_served_is_refused_in_one_line(string url, string said)
    {
        Add("a", admin: false);
        var keys = new ApiKeyRing(new ApiKeyFile(_folder.Path));
        var refused = await Assert.ThrowsAsync<WebStartException>(() => FarmWebServer.StartAsync(new FakeFarm(TimeSpan.Zero), keys, new WebOptions { Urls = [url] }));
        Assert.Contains(said, refused.Message, StringComparison.Ordinal);
        Assert.DoesNotContain('\n', refused.Message);
    }

    [Theory]
    [InlineData("farm.example.org")]
    [InlineData("*")]
    [InlineData("https://farm.example.org/page")]
    public async Task An_origin_that_no_browser_sends_is_refused_at_start(string origin)
    {
        var refused = await Assert.ThrowsAsync<WebStartException>(() => FarmTestHost.StartAsync(options: new WebOptions { AllowedOrigins = [origin] }));
        Assert.Contains("--cors", refused.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_keys_file_holds_hashes_only_and_its_format_is_frozen()
    {
        (ApiKey key, string text) = ApiKey.Create("team-a", true, 2.5, 1000, null, DateTimeOffset.UnixEpoch);
        Assert.Matches("^mq_[A-Za-z0-9_-]{43}$", text);
        var file = new ApiKeyFile(_folder.Path);
        file.Add(key with { Id = "key_00000001", Sha256 = ApiKey.HashText("mq_frozen") });
        string json = File.ReadAllText(_folder["keys.json"]);
        Assert.Equal(
            """
            {
              "version": 1,
              "keys": [
                {
                  "id": "key_00000001",
                  "tenant": "team-a",
                  "sha256": "0516fb622771ca85c73265de6ff092d76fdc389f31d76ca9184dc98eee42f540",
                  "admin": true,
                  "weight": 2.5,
                  "max_queued_images": 1000,
                  "images_per_day": null,
                  "created_at": "1970-01-01T00:00:00+00:00",
                  "revoked_at": null
                }
              ]
            }
            """.ReplaceLineEndings("\n"), json.ReplaceLineEndings("\n"));
        Assert.True(OperatingSystem.IsWindows() || File.GetUnixFileMode(_folder["keys.json"]) == (UnixFileMode.UserRead | UnixFileMode.UserWrite), "others may read keys.json");
        Assert.Throws<ApiKeyException>(() => file.Add(key with { Tenant = "no blanks" }));
        File.WriteAllText(_folder["keys.json"], "{");
        Assert.Throws<ApiKeyException>(() => new ApiKeyRing(file));
        File.WriteAllText(_folder["keys.json"], """{"version":2,"keys":[]}""");
        Assert.Contains("version 2", Assert.Throws<ApiKeyException>(() => file.Read()).Message, StringComparison.Ordinal);
    }

    private static (string, string) Bearer(string key) => ("Authorization", "Bearer " + key);

    private string Add(string tenant, bool admin)
    {
        (ApiKey key, string text) = ApiKey.Create(tenant, admin, 1, null, null, DateTimeOffset.UtcNow);
        new ApiKeyFile(_folder.Path).Add(key);
        return text;
    }

    private Task<FarmTestHost> StartAsync(TimeProvider? time = null) => FarmTestHost.StartAsync(keys: new ApiKeyRing(new ApiKeyFile(_folder.Path), time), time: time);
}
