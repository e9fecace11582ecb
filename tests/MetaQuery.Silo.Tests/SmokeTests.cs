using System.Net;
using System.Net.Http.Json;
using MetaQuery.Client;
using MetaQuery.Silo.Tests.Doubles;
using Xunit.Abstractions;

namespace MetaQuery.Silo.Tests;

public sealed class SmokeTests(ITestOutputHelper output)
{
    [Fact]
    public async Task Everything_answers()
    {
        await using FarmTestHost host = await FarmTestHost.StartAsync();
        HttpResponseMessage made = await host.Http.PostAsJsonAsync("/v1/jobs", new JobRequest { Prompts = ["a red apple"], ImagesPerPrompt = 2 }, FarmJson.Default.JobRequest);
        output.WriteLine(await made.Content.ReadAsStringAsync());
        Assert.Equal(HttpStatusCode.Accepted, made.StatusCode);
        foreach (string path in (string[])["/v1/jobs", "/v1/jobs/job_00001", "/v1/jobs/job_00001/events", "/v1/jobs/job_00001/samples", "/v1/jobs/job_00001/files", "/v1/workers", "/v1/cache", "/v1/usage", "/v1/models", "/v1/models/toy", "/healthz", "/readyz", "/metrics", "/openapi/v1.json", "/nope"])
        {
            HttpResponseMessage answer = await host.Http.GetAsync(path);
            output.WriteLine($"{path} {(int)answer.StatusCode}: {await answer.Content.ReadAsStringAsync()}");
        }

        HttpResponseMessage image = await host.Http.PostAsync("/v1/images/generations", new StringContent("""{"prompt":"x","n":2,"size":"auto"}""", null, "application/json"));
        output.WriteLine(await image.Content.ReadAsStringAsync());
        output.WriteLine(image.Headers.ToString());
    }
}
