using System.Net;
using MetaQuery.Data;
using MetaQuery.Farm;
using MetaQuery.Farm.Tests.Doubles;
using MetaQuery.Silo.Hosting;
using MetaQuery.Silo.Tests.Doubles;
using MetaQuery.Silo.Web;

namespace MetaQuery.Silo.Tests;

/// <summary>What ends a server.</summary>
public sealed class HeadServingTests
{
    [Fact]
    public async Task A_broken_head_takes_no_jobs_and_ends_its_server_by_its_error()
    {
        using var folder = new TemporaryFolder();
        using var queue = new MemoryWorkQueue(TimeSpan.FromSeconds(30));
        var clock = new BreakingClock();
        var keys = new ApiKeyRing(new ApiKeyFile(folder.Path));
        var options = new HeadOptions { DataFolder = folder.Path, LookEvery = TimeSpan.FromMilliseconds(20), Clock = clock };
        await using FarmHead head = await FarmHead.StartAsync(new ToyModel().Description, queue, new MemoryWorkerRegistry(TimeSpan.FromSeconds(30)), options, CancellationToken.None);
        await using FarmWebServer web = await FarmWebServer.StartAsync(head, keys, new WebOptions { Urls = ["http://127.0.0.1:0"] });
        using var http = new HttpClient { BaseAddress = new Uri(web.Urls[0]) };
        clock.Break();
        await head.Broken.WaitAsync(TimeSpan.FromSeconds(60));
        HttpResponseMessage refused = await http.PostJsonAsync("/v1/jobs", """{"prompts":["x"]}""");
        Assert.Equal("unavailable", (await refused.ErrorAsync(HttpStatusCode.ServiceUnavailable)).Code);
        Assert.NotNull(refused.Headers.RetryAfter);
        await Assert.ThrowsAsync<HeadBrokenException>(() => HeadServing.UntilEndAsync(head, web, worker: null, CancellationToken.None).WaitAsync(TimeSpan.FromSeconds(60)));
        await Assert.ThrowsAsync<HttpRequestException>(() => http.GetAsync("/healthz"));
    }

    [Fact]
    public void Errors_of_the_disk_are_told_as_gone_or_as_to_come_again()
    {
        Assert.Equal(404, ErrorAnswers.Of(new FileNotFoundException("/data/x")).Status);
        Assert.Equal(404, ErrorAnswers.Of(new DirectoryNotFoundException("/data/x")).Status);
        ApiException refused = ErrorAnswers.Of(new IOException("/data/x"));
        Assert.Equal((503, "storage"), (refused.Status, refused.Body.Error.Code));
        Assert.NotNull(refused.RetryAfter);
        Assert.DoesNotContain("/data", refused.Message, StringComparison.Ordinal);
        Assert.Equal(503, ErrorAnswers.Of(new UnauthorizedAccessException("/data/x")).Status);
        Assert.Equal(503, ErrorAnswers.Of(StorageException.From(new IOException("full", 28), "/data/x")).Status);
    }
}
