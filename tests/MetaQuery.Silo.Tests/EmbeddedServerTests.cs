using System.Net;
using System.Security.Cryptography;
using System.Text.Json;
using MetaQuery.Client;
using MetaQuery.Farm;
using MetaQuery.Silo.Tests.Doubles;

namespace MetaQuery.Silo.Tests;

/// <summary>The whole server with a model of toys: what the API's other tests try against a fake farm, end to end.</summary>
public sealed class EmbeddedServerTests
{
    [Fact]
    public async Task A_job_goes_all_the_way_from_its_upload_to_checked_shards()
    {
        using var folder = new TemporaryFolder();
        await using ToyServer server = await ToyServer.StartAsync();
        using var client = new FarmClient(server.Url);
        var request = new JobRequest { Name = "toys", ImagesPerPrompt = 3, SamplesPerShard = 4, Seed = 11, Size = "16x8" };
        Job job = await client.UploadJobAsync(request, new MemoryStream("a red apple\na dog\na red apple\n"u8.ToArray()), "prompts.txt", "key-1");
        Assert.Equal(job.Id, (await client.UploadJobAsync(request, new MemoryStream("a red apple\na dog\na red apple\n"u8.ToArray()), "prompts.txt", "key-1")).Id);
        var events = new List<Client.JobEvent>();
        await foreach (Client.JobEvent happened in client.WatchJobAsync(job.Id))
        {
            events.Add(happened);
        }

        Job ended = events[^1].Data.Job;
        Assert.Equal((JobStates.Completed, 9L, 0L), (ended.State, ended.Counts.Written, ended.Counts.Failed));
        Assert.Equal((3L, 9L, 9L, 9L, 9L), (ended.Counts.Prompts, ended.Counts.Images, ended.Counts.Planned, ended.Counts.Encoded, ended.Counts.Denoised));
        SampleList samples = await client.ListSamplesAsync(job.Id);
        Assert.Equal(Enumerable.Range(0, 9).Select(position => (long)position), samples.Data.Select(sample => sample.Position));
        Assert.All(samples.Data, sample => Assert.Equal((16, 8), (sample.Metadata.GetProperty("width").GetInt32(), sample.Metadata.GetProperty("height").GetInt32())));
        byte[] image = await client.GetImageAsync(job.Id, 4);
        Assert.Equal(samples.Data[4].Metadata.GetProperty("sha256").GetString(), Convert.ToHexStringLower(SHA256.HashData(image)));
        FileList files = await client.ListFilesAsync(job.Id);
        Assert.Equal(["00000.tar", "00001.tar", "00002.tar"], files.Data.Where(file => file.Sha256 is not null).Select(file => file.Name));
        foreach (Client.JobFile file in files.Data)
        {
            await client.DownloadAsync(job.Id, file, folder.Path);
        }

        Assert.Equal(files.Data.Select(file => file.Name).Order(StringComparer.Ordinal), Directory.EnumerateFiles(folder.Path).Select(path => Path.GetFileName(path)!).Order(StringComparer.Ordinal));
        Assert.Equal(3, (await client.GetCacheAsync()).Passes); // two prompts and the empty one
        Worker worker = Assert.Single((await client.ListWorkersAsync()).Data);
        Assert.Equal((2, "running"), (worker.Slots.Count, worker.State));
        await client.DeleteJobAsync(job.Id);
        Assert.Equal(404, (await Assert.ThrowsAsync<FarmApiException>(() => client.GetJobAsync(job.Id))).Status);
    }

    [Fact]
    public async Task Everything_is_there_again_after_a_restart_and_signed_addresses_too()
    {
        using var folder = new TemporaryFolder();
        (Web.ApiKey key, string text) = Web.ApiKey.Create("a", false, 1, null, null, DateTimeOffset.UtcNow);
        new Web.ApiKeyFile(folder.Path).Add(key);
        string id, url;
        await using (ToyServer server = await ToyServer.StartAsync(folder.Path))
        {
            using var client = new FarmClient(server.Url, text);
            id = (await client.CreateJobAsync(new JobRequest { Prompts = ["x"], ImagesPerPrompt = 2 })).Id;
            await foreach (Client.JobEvent _ in client.WatchJobAsync(id))
            {
            }

            url = (await client.ListSamplesAsync(id)).Data[1].ImageUrl;
            await Assert.ThrowsAsync<DataFolderInUseException>(() => ToyServer.StartAsync(folder.Path));
        }

        await using ToyServer again = await ToyServer.StartAsync(folder.Path);
        using var later = new FarmClient(again.Url, text);
        Assert.Equal(JobStates.Completed, (await later.GetJobAsync(id)).State);
        Assert.Equal(HttpStatusCode.OK, (await again.Http.GetAsync(url)).StatusCode);
    }

    [Fact]
    public async Task A_request_for_pictures_is_answered_while_a_large_job_runs()
    {
        await using ToyServer server = await ToyServer.StartAsync(model: new Farm.Tests.Doubles.ToyModel { BeforeDenoise = (_, stop) => stop.WaitHandle.WaitOne(20) });
        using var client = new FarmClient(server.Url);
        Job large = await client.CreateJobAsync(new JobRequest { Prompts = ["bulk"], ImagesPerPrompt = 20_000 });
        ImageResponse answer = await client.GenerateImagesAsync(new ImageRequest { Prompt = "now", N = 3, Seed = 5 });
        Assert.Equal(3, answer.Data.Count);
        Assert.False(JobStates.IsFinal((await client.GetJobAsync(large.Id)).State));
        Assert.Equal(JobStates.Cancelled, (await client.CancelJobAsync(large.Id)).State);
    }

    [Fact]
    public async Task A_bad_line_refuses_the_upload_by_its_number_and_leaves_nothing_behind()
    {
        using var folder = new TemporaryFolder();
        await using ToyServer server = await ToyServer.StartAsync(folder.Path);
        using var client = new FarmClient(server.Url);
        var refused = await Assert.ThrowsAsync<FarmApiException>(() => client.UploadJobAsync(new JobRequest(), new MemoryStream("{\"prompt\":\"x\"}\n{\"prompt\":1}\n"u8.ToArray()), "p.jsonl"));
        Assert.Equal((400, "prompts"), (refused.Status, refused.Error.Param));
        Assert.StartsWith("line 2", refused.Message, StringComparison.Ordinal);
        Assert.DoesNotContain(folder.Path, refused.Message, StringComparison.Ordinal);
        Assert.Empty(Directory.EnumerateDirectories(folder["jobs"]));
        Job skipped = await client.UploadJobAsync(new JobRequest { SkipInvalid = true }, new MemoryStream("{\"prompt\":\"x\"}\n{\"prompt\":1}\n"u8.ToArray()), "p.jsonl");
        Assert.StartsWith("line 2", Assert.Single(skipped.SkippedLines), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(null)] // refused before any of the body
    [InlineData("key-2")] // might be a repetition: refused once the part before the file is read
    public async Task An_upload_that_has_no_room_is_refused_before_the_file_is_read_and_leaves_nothing_behind(string? idempotencyKey)
    {
        using var folder = new TemporaryFolder();
        (Web.ApiKey key, string text) = Web.ApiKey.Create("a", false, 1, null, imagesPerDay: 2, DateTimeOffset.UtcNow);
        new Web.ApiKeyFile(folder.Path).Add(key);
        await using ToyServer server = await ToyServer.StartAsync(folder.Path);
        using var client = new FarmClient(server.Url, text);
        Job first = await client.UploadJobAsync(new JobRequest(), new MemoryStream("a\nb\n"u8.ToArray()), "p.txt", "key-1");
        Assert.Equal(first.Id, (await client.UploadJobAsync(new JobRequest(), new MemoryStream("a\nb\n"u8.ToArray()), "p.txt", "key-1")).Id); // a repetition needs no room

        // a raw connection, for it is the answer while the body is still on its way that is wanted
        using var connection = new System.Net.Sockets.TcpClient();
        await connection.ConnectAsync(server.Url.Host, server.Url.Port);
        await using System.Net.Sockets.NetworkStream stream = connection.GetStream();
        string head = $"POST /v1/jobs HTTP/1.1\r\nHost: {server.Url.Authority}\r\nAuthorization: Bearer {text}\r\nContent-Type: multipart/form-data; boundary=seven\r\nContent-Length: 1000000000\r\n"
            + (idempotencyKey is null ? "" : $"Idempotency-Key: {idempotencyKey}\r\n");
        const string Begun = "--seven\r\nContent-Disposition: form-data; name=\"prompts\"; filename=\"p.txt\"\r\n\r\nthe first of many prompts\n";
        await stream.WriteAsync(System.Text.Encoding.ASCII.GetBytes(head + "\r\n" + (idempotencyKey is null ? "" : Begun)));
        using var reader = new StreamReader(stream);
        Assert.Equal("HTTP/1.1 429 Too Many Requests", await reader.ReadLineAsync().WaitAsync(TimeSpan.FromMinutes(2)));
        Assert.Equal(folder["jobs/" + first.Id], Assert.Single(Directory.EnumerateDirectories(folder["jobs"])));
    }

    [Fact]
    public async Task Readiness_follows_the_workers()
    {
        await using ToyServer server = await ToyServer.StartAsync();
        await Eventually.Async(async () => (await server.Http.GetAsync("/readyz")).StatusCode == HttpStatusCode.OK);
        JsonElement workers = await (await server.Http.GetAsync("/v1/workers")).JsonAsync();
        string id = workers.GetProperty("data")[0].GetProperty("id").GetString()!;
        await (await server.Http.PostAsync($"/v1/workers/{id}/drain", null)).JsonAsync(HttpStatusCode.Accepted);
        await Eventually.Async(async () => (await server.Http.GetAsync("/readyz")).StatusCode == HttpStatusCode.ServiceUnavailable);
        Assert.Equal(HttpStatusCode.OK, (await server.Http.GetAsync("/healthz")).StatusCode); // what was made can still be fetched
    }
}
