using System.IO.Pipelines;
using System.Net;
using System.Text;
using System.Text.Json;
using MetaQuery.Client;
using MetaQuery.Silo.Tests.Doubles;

namespace MetaQuery.Silo.Tests;

/// <summary>Prompt files as multipart/form-data.</summary>
public sealed class UploadTests
{
    private const string Boundary = "seven";

    [Theory]
    [InlineData("prompts.txt", "a red apple\na dog\n", 2)]
    [InlineData("prompts.JSONL", "{\"prompt\":\"a red apple\",\"seed\":7}\n", 1)]
    [InlineData("anything.csv", "prompt,id\na red apple,1\na dog,2\na cat,3\n", 3)]
    [InlineData("../../etc/prompts.txt", "x\n", 1)]
    public async Task A_file_is_taken_by_its_ending(string name, string content, int prompts)
    {
        await using FarmTestHost host = await FarmTestHost.StartAsync();
        JsonElement job = await (await PostAsync(host, Part("job", """{"images_per_prompt":2,"name":"upload"}"""), File(name, content))).JsonAsync(HttpStatusCode.Accepted);
        Assert.Equal(prompts, job.GetProperty("counts").GetProperty("prompts").GetInt32());
        Assert.Equal(prompts * 2, job.GetProperty("counts").GetProperty("images").GetInt32());
        Assert.Equal("upload", job.GetProperty("name").GetString());
    }

    [Fact]
    public async Task The_job_part_may_be_missing_and_may_say_the_format()
    {
        await using FarmTestHost host = await FarmTestHost.StartAsync();
        await (await PostAsync(host, File("p.txt", "x\n"))).JsonAsync(HttpStatusCode.Accepted);
        await (await PostAsync(host, Part("job", """{"prompts_format":"csv"}"""), File("blob", "prompt\nx\n"))).JsonAsync(HttpStatusCode.Accepted);
    }

    [Theory]
    [InlineData("prompts", "no file", new[] { "job", "{}" })]
    [InlineData("prompts", "no ending", new[] { "file:blob", "x" })]
    [InlineData("prompts", "empty", new[] { "file:p.txt", "" })]
    [InlineData("prompts", "line 2", new[] { "file:p.jsonl", "{\"prompt\":\"x\"}\n{\"prompt\":1}\n" })]
    [InlineData("prompts", "both", new[] { "job", "{\"prompts\":[\"x\"]}", "file:p.txt", "x" })]
    [InlineData("steps", "wrong field", new[] { "job", "{\"steps\":0}", "file:p.txt", "x" })]
    [InlineData("body", "no JSON", new[] { "job", "steps=3", "file:p.txt", "x" })]
    [InlineData("other", "unknown part", new[] { "other", "1", "file:p.txt", "x" })]
    [InlineData("job", "job twice", new[] { "job", "{}", "job", "{}", "file:p.txt", "x" })]
    [InlineData("job", "job after the file", new[] { "file:p.txt", "x", "job", "{}" })]
    public async Task A_wrong_part_is_a_400_that_names_it(string param, string why, string[] parts)
    {
        await using FarmTestHost host = await FarmTestHost.StartAsync();
        string[] written = [.. parts.Chunk(2).Select(part => part[0].StartsWith("file:", StringComparison.Ordinal) ? File(part[0][5..], part[1]) : Part(part[0], part[1]))];
        Error error = await (await PostAsync(host, written)).ErrorAsync(HttpStatusCode.BadRequest);
        Assert.True(error.Param == param, $"{why}: {error}");
        Assert.DoesNotContain("/tmp", error.Message, StringComparison.Ordinal);
        Assert.Empty((await (await host.Http.GetAsync("/v1/jobs")).JsonAsync()).GetProperty("data").EnumerateArray());
    }

    [Fact]
    public async Task A_cut_or_malformed_body_is_a_400()
    {
        await using FarmTestHost host = await FarmTestHost.StartAsync();
        string whole = File("p.txt", "x\n");
        foreach (string body in (string[])["", "nonsense", whole, whole[..40], "--seven\r\nContent-Disposition: form-data\r\n\r\nx\r\n--seven--\r\n"])
        {
            Assert.NotNull((await (await SendAsync(host, body)).ErrorAsync(HttpStatusCode.BadRequest)).Param);
        }

        var content = new ByteArrayContent(Encoding.UTF8.GetBytes(whole));
        content.Headers.TryAddWithoutValidation("Content-Type", "multipart/form-data");
        Assert.Equal("Content-Type", (await (await host.Http.PostAsync("/v1/jobs", content)).ErrorAsync(HttpStatusCode.BadRequest)).Param);
    }

    [Fact]
    public async Task A_file_over_the_limit_is_a_413()
    {
        await using FarmTestHost host = await FarmTestHost.StartAsync(options: new Web.WebOptions { MaxUploadBytes = 100_000, MaxBodyBytes = 1000 });
        await (await PostAsync(host, File("p.txt", string.Concat(Enumerable.Repeat("a prompt\n", 10_000))))).JsonAsync(HttpStatusCode.Accepted);
        await (await PostAsync(host, File("p.txt", string.Concat(Enumerable.Repeat("a prompt\n", 12_000))))).ErrorAsync(HttpStatusCode.RequestEntityTooLarge);
    }

    [Fact]
    public async Task The_farm_reads_the_file_while_it_is_still_being_sent()
    {
        using var farm = new ListeningFarm();
        await using FarmTestHost host = await FarmTestHost.StartAsync(farm);
        var pipe = new Pipe();
        using var client = new FarmClient(host.Url);
        Task<Job> submitting = client.UploadJobAsync(new JobRequest(), pipe.Reader.AsStream(), "p.txt");
        byte[] block = Encoding.UTF8.GetBytes(string.Concat(Enumerable.Repeat("a prompt of some length, sent in blocks\n", 2000)));
        for (long sent = 0; sent < 20_000_000; sent += block.Length)
        {
            await pipe.Writer.WriteAsync(block);
        }

        await farm.HasReadAsync(10_000_000); // nothing between holds a file of which half is missing
        Assert.False(submitting.IsCompleted);
        await pipe.Writer.CompleteAsync();
        await Assert.ThrowsAsync<FarmApiException>(() => submitting); // this farm takes no job, it only listens
    }

    private static string Part(string name, string content) => $"--{Boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{content}\r\n";

    private static string File(string name, string content) => $"--{Boundary}\r\nContent-Disposition: form-data; name=\"prompts\"; filename=\"{name}\"\r\nContent-Type: application/octet-stream\r\n\r\n{content}\r\n";

    private static Task<HttpResponseMessage> PostAsync(FarmTestHost host, params string[] parts) => SendAsync(host, string.Concat(parts) + $"--{Boundary}--\r\n");

    private static Task<HttpResponseMessage> SendAsync(FarmTestHost host, string body)
    {
        var content = new ByteArrayContent(Encoding.UTF8.GetBytes(body));
        content.Headers.TryAddWithoutValidation("Content-Type", $"multipart/form-data; boundary={Boundary}");
        return host.Http.PostAsync("/v1/jobs", content);
    }
}
