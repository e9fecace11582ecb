using System.Net;
using System.Text;
using MetaQuery.Client;
using MetaQuery.Silo.Tests.Doubles;
using MetaQuery.Silo.Web;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;

namespace MetaQuery.Silo.Tests;

/// <summary>The typed client against the real server.</summary>
public sealed class ClientTests
{
    [Fact]
    public async Task Every_call_has_its_answer()
    {
        await using FarmTestHost host = await FarmTestHost.StartAsync();
        using var client = new FarmClient(host.Url);
        Job job = await client.CreateJobAsync(new JobRequest { Prompts = ["a", "fail"], Format = "png" }, "key-1");
        Assert.Equal(job.Id, (await client.CreateJobAsync(new JobRequest { Prompts = ["a", "fail"], Format = "png" }, "key-1")).Id);
        await host.EndAsync(job.Id);
        Assert.Equal(JobStates.CompletedWithErrors, (await client.GetJobAsync(job.Id)).State);
        Assert.Equal(job.Id, Assert.Single((await client.ListJobsAsync(states: [JobStates.CompletedWithErrors])).Data).Id);
        Sample sample = Assert.Single((await client.ListSamplesAsync(job.Id)).Data);
        Assert.Equal(sample.Key, (await client.GetSampleAsync(job.Id, sample.Position)).Key);
        Assert.Equal(0x89, (await client.GetImageAsync(job.Id, sample.Position))[0]);
        Assert.Equal("fail", Assert.Single((await client.ListFailuresAsync(job.Id)).Data).Prompt);
        Assert.Equal(JobStates.Completed, (await client.RetryFailedAsync(job.Id)) is var again && JobStates.IsFinal(again.State) ? again.State : (await host.EndAsync(job.Id)).State);
        Job upload = await client.UploadJobAsync(new JobRequest { Name = "file" }, new MemoryStream("x\ny\n"u8.ToArray()), "prompts.txt");
        Assert.Equal(2, upload.Counts.Prompts);
        await host.EndAsync(upload.Id);
        Assert.Equal(upload.Id, (await client.DeleteJobAsync(upload.Id)).Id);
        Assert.Equal(2, (await client.ListWorkersAsync()).Data.Count);
        Assert.Equal("draining", Assert.Single((await client.DrainWorkerAsync("worker-b")).Data).State);
        Assert.Equal(60, (await client.GetCacheAsync()).MemoryHits);
        Assert.Equal("local", (await client.GetUsageAsync()).Tenant);
        Assert.Equal("toy", Assert.Single((await client.ListModelsAsync()).Data).Id);
        Assert.NotNull(Assert.Single((await client.GenerateImagesAsync(new ImageRequest { Prompt = "x" })).Data).B64Json);
    }

    [Fact]
    public async Task Errors_are_typed_and_say_whether_to_try_again()
    {
        await using FarmTestHost host = await FarmTestHost.StartAsync(TimeSpan.FromMinutes(10));
        using var client = new FarmClient(host.Url);
        var wrong = await Assert.ThrowsAsync<FarmApiException>(() => client.CreateJobAsync(new JobRequest { Prompts = ["x"], Steps = 0 }));
        Assert.Equal((400, "steps", false), (wrong.Status, wrong.Error.Param, wrong.IsTransient));
        Assert.NotNull(wrong.RequestId);
        var unknown = await Assert.ThrowsAsync<FarmApiException>(() => client.DrainWorkerAsync("nobody"));
        Assert.Equal((404, "there is no worker nobody; /v1/workers lists them"), (unknown.Status, unknown.Message));
        using var nowhere = new FarmClient(new Uri("http://127.0.0.1:1"));
        var unreachable = await Assert.ThrowsAsync<FarmUnreachableException>(() => nowhere.ListModelsAsync());
        Assert.True(unreachable.IsTransient);
        Assert.DoesNotContain('\n', unreachable.Message);
        using var watch = new CancellationTokenSource();
        await Assert.ThrowsAsync<FarmUnreachableException>(async () =>
        {
            await foreach (JobEvent _ in nowhere.WatchJobAsync("job_1"))
            {
            }
        });
    }

    [Theory]
    [InlineData(404, "File not found", "404 Not Found")]
    [InlineData(404, """{"detail":"Not Found"}""", "404 Not Found")]
    [InlineData(200, "<html></html>", "text/html")]
    public async Task What_answers_but_is_no_farm_is_said_to_be_none(int status, string text, string expected)
    {
        await using WebApplication other = await AnswerAsync(status, text);
        using var client = new FarmClient(new Uri(other.Urls.Single()));
        var wrong = await Assert.ThrowsAsync<NotAFarmException>(() => client.ListModelsAsync());
        Assert.Equal($"{client.Server} answers, but is no MetaQuery.Farm ({expected})", wrong.Message);
        Assert.False(wrong.IsTransient);
    }

    [Fact]
    public async Task A_proxy_s_page_for_a_farm_that_is_away_is_worth_another_try()
    {
        await using WebApplication proxy = await AnswerAsync(502, "<html></html>");
        using var client = new FarmClient(new Uri(proxy.Urls.Single()));
        var away = await Assert.ThrowsAsync<FarmApiException>(() => client.ListModelsAsync());
        Assert.Equal(($"{client.Server}: status 502 Bad Gateway", true), (away.Message, away.IsTransient));
    }

    private static async Task<WebApplication> AnswerAsync(int status, string text)
    {
        WebApplication app = WebApplication.CreateSlimBuilder().Build();
        app.Urls.Add("http://127.0.0.1:0");
        app.MapFallback(() => Results.Text(text, text[0] == '<' ? "text/html" : text[0] == '{' ? "application/json" : "text/plain", statusCode: status));
        await app.StartAsync();
        return app;
    }

    [Fact]
    public async Task Watching_goes_on_through_broken_connections_without_losing_a_sample()
    {
        await using FarmTestHost host = await FarmTestHost.StartAsync(TimeSpan.FromMilliseconds(25), new WebOptions { EventInterval = TimeSpan.FromMilliseconds(10) });
        using var proxy = new CuttingProxy(host.Url);
        using var client = new FarmClient(proxy.Url);
        string id = await host.Http.SubmitAsync("""{"prompts":["a"],"images_per_prompt":80}""");
        var seen = new List<long>();
        int events = 0;
        await foreach (JobEvent happened in client.WatchJobAsync(id))
        {
            seen.AddRange(happened.Data.Samples);
            if (++events is 5 or 12 or 20)
            {
                proxy.Cut();
            }
        }

        Assert.True(proxy.Cuts >= 3, $"{proxy.Cuts} connections were cut");
        int first = (int)seen.Min(); // a snapshot names the latest samples only; what came after it was not lost
        Assert.Equal(Enumerable.Range(first, 80 - first).Select(position => (long)position), seen.Distinct().Order());
    }

    [Fact]
    public async Task A_download_goes_on_where_it_broke_off_and_is_checked()
    {
        using var folder = new TemporaryFolder();
        await using FarmTestHost host = await FarmTestHost.StartAsync();
        string id = await host.Http.SubmitAsync("""{"prompts":["a"],"images_per_prompt":200,"size":"64x64"}""");
        await host.EndAsync(id);
        var cutting = new CuttingHandler();
        using var client = new FarmClient(host.Url, handler: cutting);
        JobFile shard = (await client.ListFilesAsync(id)).Data[0];
        cutting.After = (int)shard.Bytes / 3;
        (string path, bool wasHere) = await client.DownloadAsync(id, shard, folder.Path);
        Assert.False(wasHere);
        Assert.Equal(await host.Http.GetByteArrayAsync(shard.Url), await File.ReadAllBytesAsync(path));
        Assert.True(cutting.Cut >= 2, $"{cutting.Cut} answers were cut");
        Assert.Contains("bytes=", cutting.Ranges[^1], StringComparison.Ordinal);
        Assert.True((await client.DownloadAsync(id, shard, folder.Path)).WasHere);
        Assert.Equal([shard.Name], Directory.EnumerateFiles(folder.Path).Select(Path.GetFileName));

        cutting.After = int.MaxValue;
        await Assert.ThrowsAsync<FarmDownloadException>(() => client.DownloadAsync(id, shard with { Sha256 = new string('0', 64) }, folder.Path));
        await Assert.ThrowsAsync<FarmClientException>(() => client.DownloadAsync(id, shard with { Name = "../evil" }, folder.Path));
    }

    [Fact]
    public async Task Events_are_read_as_the_standard_says()
    {
        const string Text = ": comment\nretry: 5\nid: 1\nevent: a\ndata: one\ndata:two\n\ndata\n\nid: 2\ndata:  three\n\nevent: lost\ndata: cut";
        var events = new List<ServerSentEvent>();
        await foreach (ServerSentEvent happened in ServerSentEvents.ReadAsync(new MemoryStream(Encoding.UTF8.GetBytes(Text)), TimeSpan.FromMinutes(1), CancellationToken.None))
        {
            events.Add(happened);
        }

        Assert.Equal([new("1", "a", "one\ntwo"), new("1", "message", ""), new("2", "message", " three")], events);
    }

    /// <summary>Cuts the body of every answer to a download after some bytes.</summary>
    private sealed class CuttingHandler() : DelegatingHandler(new SocketsHttpHandler())
    {
        public int After { get; set; }
        public int Cut { get; private set; }
        public List<string> Ranges { get; } = [];

        protected override async Task<HttpResponseMessage> SendAsync(HttpRequestMessage request, CancellationToken cancellationToken)
        {
            HttpResponseMessage answer = await base.SendAsync(request, cancellationToken);
            if (request.RequestUri!.AbsolutePath.EndsWith(".tar", StringComparison.Ordinal) && answer.IsSuccessStatusCode && answer.Content.Headers.ContentLength > After)
            {
                Cut++;
                Ranges.Add(request.Headers.Range?.ToString() ?? "");
                byte[] body = await answer.Content.ReadAsByteArrayAsync(cancellationToken);
                var cut = new StreamContent(new BrokenStream(body[..After]));
                answer.Content = cut;
            }
            else if (request.Headers.Range is { } range)
            {
                Ranges.Add(range.ToString());
            }

            return answer;
        }
    }

    private sealed class BrokenStream(byte[] bytes) : MemoryStream(bytes)
    {
        public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default) =>
            await base.ReadAsync(buffer, cancellationToken) is > 0 and var count ? count : throw new HttpIOException(HttpRequestError.ResponseEnded, "cut");
    }
}
