using System.Net;
using System.Text.Json;
using MetaQuery.Silo.Tests.Doubles;

namespace MetaQuery.Silo.Tests;

/// <summary>The page's files, and what every answer carries.</summary>
public sealed class PageAndHeaderTests
{
    [Fact]
    public async Task The_page_and_all_it_loads_are_served_from_memory()
    {
        await using FarmTestHost host = await FarmTestHost.StartAsync();
        HttpResponseMessage page = await host.Http.GetAsync("/");
        Assert.Equal("text/html", page.Content.Headers.ContentType!.MediaType);
        string html = await page.Content.ReadAsStringAsync();
        string[] loaded = [.. System.Text.RegularExpressions.Regex.Matches(html, "(?:src|href)=\"(/?[^\":#?]+\\.(?:js|css|svg))\"").Select(match => match.Groups[1].Value)];
        Assert.NotEmpty(loaded);
        foreach (string file in loaded)
        {
            HttpResponseMessage answer = await host.Http.GetAsync("/" + file.TrimStart('/'));
            Assert.True(answer.StatusCode == HttpStatusCode.OK, file);
            Assert.Equal(HttpStatusCode.NotModified, (await host.Http.GetAsync("/" + file.TrimStart('/'), ("If-None-Match", answer.Headers.ETag!.ToString()))).StatusCode);
        }
    }

    [Theory]
    [InlineData("/")]
    [InlineData("/v1/models")]
    [InlineData("/v1/nothing")]
    [InlineData("/metrics")]
    public async Task Every_answer_carries_the_headers_that_make_a_browser_careful(string path)
    {
        await using FarmTestHost host = await FarmTestHost.StartAsync();
        HttpResponseMessage answer = await host.Http.GetAsync(path);
        Assert.Equal("nosniff", Header("X-Content-Type-Options"));
        Assert.Equal("DENY", Header("X-Frame-Options"));
        Assert.Equal("no-referrer", Header("Referrer-Policy"));
        Assert.Contains("default-src 'none'", Header("Content-Security-Policy"), StringComparison.Ordinal);
        Assert.NotEmpty(Header("x-request-id"));
        Assert.False(answer.Headers.Contains("Server"));

        string Header(string name) => Assert.Single(answer.Headers.GetValues(name));
    }

    [Fact]
    public async Task The_OpenAPI_document_names_every_operation_once_with_its_body_and_answers()
    {
        await using FarmTestHost host = await FarmTestHost.StartAsync();
        JsonElement document = await (await host.Http.GetAsync("/openapi/v1.json")).JsonAsync();
        var operations = document.GetProperty("paths").EnumerateObject().SelectMany(path => path.Value.EnumerateObject()).Select(operation => operation.Value).ToList();
        string[] ids = [.. operations.Select(operation => operation.GetProperty("operationId").GetString()!)];
        Assert.Equal(ids.Length, ids.Distinct().Count());
        Assert.Equal(
            [
                "cancelJob", "chat", "createJob", "deleteJob", "drainSilo", "drainWorker", "editImages", "generateImages", "getCache", "getFile", "getImage", "getJob", "getModel", "getSample",
                "getTenant", "getThumbnail", "getUsage", "headFile", "health", "listFailures", "listFiles", "listJobs", "listModels", "listSamples", "listSilos", "listWorkers", "metrics", "pauseJob",
                "readiness", "resetTenant", "resumeJob", "retryFailed", "scaleSilo", "setTenant", "watchJob",
            ],
            ids.Order(StringComparer.Ordinal));
        Assert.All(operations, operation => Assert.NotEmpty(operation.GetProperty("responses").EnumerateObject()));
        JsonElement job = document.GetProperty("components").GetProperty("schemas").GetProperty("JobRequest");
        Assert.Equal(1000, job.GetProperty("properties").GetProperty("steps").GetProperty("maximum").GetInt32());
        Assert.Equal("png", job.GetProperty("properties").GetProperty("format").GetProperty("enum")[0].GetString());
    }
}
