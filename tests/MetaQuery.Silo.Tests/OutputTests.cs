using System.Net;
using System.Security.Cryptography;
using System.Text.Json;
using MetaQuery.Imaging;
using MetaQuery.Silo.Tests.Doubles;

namespace MetaQuery.Silo.Tests;

/// <summary>Samples, pictures and files.</summary>
public sealed class OutputTests
{
    [Fact]
    public async Task Samples_come_in_pages_with_provenance_and_pictures()
    {
        await using FarmTestHost host = await FarmTestHost.StartAsync();
        string id = await host.Http.SubmitAsync("""{"prompts":["a","fail","c"],"images_per_prompt":2}""");
        await host.EndAsync(id);
        JsonElement first = await (await host.Http.GetAsync($"/v1/jobs/{id}/samples?limit=3")).JsonAsync();
        Assert.Equal([0, 1, 4], first.GetProperty("data").EnumerateArray().Select(sample => sample.GetProperty("position").GetInt64()));
        Assert.Equal(5, first.GetProperty("next").GetInt64());
        JsonElement rest = await (await host.Http.GetAsync($"/v1/jobs/{id}/samples?from=5&limit=3")).JsonAsync();
        Assert.Equal([5], rest.GetProperty("data").EnumerateArray().Select(sample => sample.GetProperty("position").GetInt64()));
        Assert.Equal(JsonValueKind.Null, rest.GetProperty("next").ValueKind);
        JsonElement sample = await (await host.Http.GetAsync($"/v1/jobs/{id}/samples/4")).JsonAsync();
        Assert.Equal(("c", 0), (sample.GetProperty("prompt").GetString(), sample.GetProperty("sample_index").GetInt32()));
        HttpResponseMessage image = await host.Http.GetAsync(sample.GetProperty("image_url").GetString());
        Assert.Equal("image/png", image.Content.Headers.ContentType!.MediaType);
        byte[] bytes = await image.Content.ReadAsByteArrayAsync();
        Assert.Equal(sample.GetProperty("metadata").GetProperty("sha256").GetString(), Convert.ToHexStringLower(SHA256.HashData(bytes)));
        HttpResponseMessage known = await host.Http.GetAsync(sample.GetProperty("image_url").GetString()!, ("If-None-Match", image.Headers.ETag!.ToString()));
        Assert.Equal(HttpStatusCode.NotModified, known.StatusCode);
        await (await host.Http.GetAsync($"/v1/jobs/{id}/samples/2")).ErrorAsync(HttpStatusCode.NotFound);
        await (await host.Http.GetAsync($"/v1/jobs/{id}/samples/99/image")).ErrorAsync(HttpStatusCode.NotFound);
        foreach (string position in (string[])["-1", "x", "1.0", "9223372036854775808"])
        {
            Assert.Equal("position", (await (await host.Http.GetAsync($"/v1/jobs/{id}/samples/{position}")).ErrorAsync(HttpStatusCode.BadRequest)).Param);
        }
    }

    [Theory]
    [InlineData("png", "640x320", "image/jpeg", 256, 128)]
    [InlineData("webp", "320x1024", "image/jpeg", 80, 256)]
    [InlineData("png", "256x32", "image/png", 256, 32)] // small enough as it is
    public async Task A_picture_has_a_small_copy_for_galleries(string format, string size, string mediaType, int widthPixels, int heightPixels)
    {
        using var farm = new FakeFarm(TimeSpan.Zero) { Model = new FakeFarm(TimeSpan.Zero).Model with { MaxSizePixels = 1024 } };
        await using FarmTestHost host = await FarmTestHost.StartAsync(farm);
        string id = await host.Http.SubmitAsync($$"""{"prompts":["a red apple"],"size":"{{size}}","format":"{{format}}"}""");
        await host.EndAsync(id);
        JsonElement sample = await (await host.Http.GetAsync($"/v1/jobs/{id}/samples/0")).JsonAsync();
        HttpResponseMessage answer = await host.Http.GetAsync(sample.GetProperty("thumbnail_url").GetString());
        Assert.Equal(mediaType, answer.Content.Headers.ContentType!.MediaType);
        RgbImage small = ImageDecoder.Decode(await answer.Content.ReadAsByteArrayAsync());
        RgbImage whole = ImageDecoder.Decode(await host.Http.GetByteArrayAsync(sample.GetProperty("image_url").GetString()));
        Assert.Equal((widthPixels, heightPixels), (small.WidthPixels, small.HeightPixels));
        // two flat colours: away from their edge only JPEG's colour conversion and its quantised means may differ, by a level or two each
        foreach ((double x, double y) in ((double, double)[])[(0.05, 0.05), (0.5, 0.5), (0.95, 0.95)])
        {
            for (int channel = 0; channel < 3; channel++)
            {
                Assert.InRange(At(small, x, y, channel) - At(whole, x, y, channel), -4, 4);
            }
        }

        HttpResponseMessage again = await host.Http.GetAsync($"/v1/jobs/{id}/samples/0/thumbnail", ("If-None-Match", answer.Headers.ETag!.ToString()));
        Assert.Equal(HttpStatusCode.NotModified, again.StatusCode);
        await (await host.Http.GetAsync($"/v1/jobs/{id}/samples/1/thumbnail")).ErrorAsync(HttpStatusCode.NotFound);

        static int At(RgbImage image, double x, double y, int channel) => image.Row((int)(y * image.HeightPixels))[((int)(x * image.WidthPixels) * 3) + channel];
    }

    [Fact]
    public async Task Files_are_served_whole_and_in_ranges()
    {
        await using FarmTestHost host = await FarmTestHost.StartAsync();
        string id = await host.Http.SubmitAsync("""{"prompts":["a","b","c"]}""");
        await host.EndAsync(id);
        JsonElement file = (await (await host.Http.GetAsync($"/v1/jobs/{id}/files")).JsonAsync()).GetProperty("data")[0];
        string url = file.GetProperty("url").GetString()!;
        HttpResponseMessage answer = await host.Http.GetAsync(url);
        byte[] whole = await answer.Content.ReadAsByteArrayAsync();
        Assert.Equal(file.GetProperty("bytes").GetInt64(), whole.Length);
        Assert.Equal(file.GetProperty("sha256").GetString(), Convert.ToHexStringLower(SHA256.HashData(whole)));
        Assert.Equal("bytes", Assert.Single(answer.Headers.AcceptRanges));
        Assert.Equal("attachment", answer.Content.Headers.ContentDisposition!.DispositionType);

        HttpResponseMessage part = await RangeAsync("bytes=100-199");
        Assert.Equal(HttpStatusCode.PartialContent, part.StatusCode);
        Assert.Equal(whole[100..200], await part.Content.ReadAsByteArrayAsync());
        Assert.Equal($"bytes 100-199/{whole.Length}", part.Content.Headers.ContentRange!.ToString());
        Assert.Equal(whole[^10..], await (await RangeAsync("bytes=-10")).Content.ReadAsByteArrayAsync());
        Assert.Equal(whole[50..], await (await RangeAsync("bytes=50-", answer.Headers.ETag!.ToString())).Content.ReadAsByteArrayAsync());
        Assert.Equal(whole, await (await RangeAsync("bytes=50-", "\"another version\"")).Content.ReadAsByteArrayAsync());
        Assert.Equal(HttpStatusCode.RequestedRangeNotSatisfiable, (await RangeAsync($"bytes={whole.Length}-")).StatusCode);
        HttpResponseMessage head = await host.Http.SendAsync(new HttpRequestMessage(HttpMethod.Head, url));
        Assert.Equal((HttpStatusCode.OK, (long?)whole.Length), (head.StatusCode, head.Content.Headers.ContentLength));

        Task<HttpResponseMessage> RangeAsync(string range, string? ifRange = null) => host.Http.GetAsync(url, ifRange is null ? [("Range", range)] : [("Range", range), ("If-Range", ifRange)]);
    }

    [Fact]
    public async Task No_name_of_a_request_reaches_the_file_system()
    {
        await using FarmTestHost host = await FarmTestHost.StartAsync();
        string id = await host.Http.SubmitAsync();
        await host.EndAsync(id);
        foreach (string name in (string[])["..%2F..%2F..%2Fetc%2Fpasswd", "%2Fetc%2Fpasswd", "00000.tar%20.png", "job.json", "%2e%2e%2fjournal"])
        {
            await (await host.Http.GetAsync($"/v1/jobs/{id}/files/{name}")).ErrorAsync(HttpStatusCode.NotFound);
        }

        foreach (string path in (string[])["/..%2f..%2fetc%2fpasswd", "/js/..%2f..%2findex.html", "/.git/config"])
        {
            await (await host.Http.GetAsync(path)).ErrorAsync(HttpStatusCode.NotFound);
        }

        Assert.Equal(HttpStatusCode.BadRequest, (await host.Http.GetAsync($"/v1/jobs/{id}/files/00000.tar%00")).StatusCode); // Kestrel's own refusal
    }

    [Fact]
    public async Task A_job_without_finished_files_lists_none()
    {
        await using FarmTestHost host = await FarmTestHost.StartAsync(TimeSpan.FromMinutes(10));
        string id = await host.Http.SubmitAsync();
        Assert.Empty((await (await host.Http.GetAsync($"/v1/jobs/{id}/files")).JsonAsync()).GetProperty("data").EnumerateArray());
        await (await host.Http.GetAsync($"/v1/jobs/{id}/files/00000.tar")).ErrorAsync(HttpStatusCode.NotFound);
    }
}
