using System.Net;
using System.Text;
using System.Text.Json;
using MetaQuery.Client;
using MetaQuery.Farm.Tests.Doubles;
using MetaQuery.Imaging;
using MetaQuery.Silo.Tests.Doubles;
using MetaQuery.Silo.Web;

namespace MetaQuery.Silo.Tests;

/// <summary><c>/v1/images/edits</c>, as OpenAI's clients speak to it, on a whole server over toys.</summary>
public sealed class ImageEditTests
{
    private const string Path = "/v1/images/edits";

    [Fact]
    public async Task What_the_openai_package_sends_is_answered_as_it_expects()
    {
        await using ToyServer server = await StartAsync();
        // openai-python 1.x: client.images.edit(image=[...], prompt=..., model="gpt-image-1", n=2, size="16x8", response_format="b64_json", user="u-1", input_fidelity="high")
        using var form = new MultipartFormDataContent
        {
            { new StringContent("make it red"), "prompt" }, { new StringContent("gpt-image-1"), "model" }, { new StringContent("2"), "n" }, { new StringContent("16x8"), "size" },
            { new StringContent("b64_json"), "response_format" }, { new StringContent("u-1"), "user" }, { new StringContent("high"), "input_fidelity" },
            { Picture(8), "image[]", "cat.png" }, { Picture(12), "image[]", "dog.png" },
        };
        JsonElement body = await (await server.Http.PostAsync(Path, form)).JsonAsync();
        JsonElement[] data = [.. body.GetProperty("data").EnumerateArray()];
        Assert.Equal(2, data.Length);
        Assert.All(data, image =>
        {
            ImageHeader header = ImageDecoder.Identify(image.GetProperty("b64_json").GetBytesFromBase64());
            Assert.Equal((16, 8), (header.WidthPixels, header.HeightPixels));
        });
    }

    [Fact]
    public async Task A_form_JSON_and_the_client_mean_the_same()
    {
        await using ToyServer server = await StartAsync();
        using var form = new MultipartFormDataContent
        {
            { Picture(8), "image", "cat.png" }, { new StringContent("red"), "prompt" }, { new StringContent("7"), "seed" }, { new StringContent("2.5"), "image_guidance" },
        };
        string first = (await (await server.Http.PostAsync(Path, form)).JsonAsync()).GetProperty("data")[0].GetProperty("b64_json").GetString()!;
        string json = $$"""{"prompt":"red","seed":7,"image_guidance":2.5,"images":["data:image/png;base64,{{Convert.ToBase64String(Png(8))}}"]}""";
        Assert.Equal(first, (await (await server.Http.PostJsonAsync(Path, json)).JsonAsync()).GetProperty("data")[0].GetProperty("b64_json").GetString());
        using var client = new FarmClient(server.Url);
        Assert.Equal(first, (await client.EditImagesAsync(new ImageEditRequest { Prompt = "red", Seed = 7, ImageGuidance = 2.5f }, [Png(8)])).Data[0].B64Json);
        Assert.NotEqual(first, (await client.EditImagesAsync(new ImageEditRequest { Prompt = "red", Seed = 7 }, [Png(8)])).Data[0].B64Json);
        Assert.NotEqual(first, (await client.EditImagesAsync(new ImageEditRequest { Prompt = "red", Seed = 7, ImageGuidance = 2.5f }, [Png(12)])).Data[0].B64Json);
        Assert.NotNull((await client.EditImagesAsync(new ImageEditRequest { ResponseFormat = "url" }, [Png(8), Png(12)])).Data[0].Url); // no prompt: make them again
    }

    [Fact]
    public async Task The_same_key_gives_the_same_pictures_for_the_same_content_only()
    {
        await using ToyServer server = await StartAsync();
        using var client = new FarmClient(server.Url);
        var request = new ImageEditRequest { Prompt = "red" };
        string first = (await client.EditImagesAsync(request, [Png(8)], "k")).Data[0].B64Json!;
        Assert.Equal(first, (await client.EditImagesAsync(request, [Png(8)], "k")).Data[0].B64Json);
        Assert.Equal(409, (await Assert.ThrowsAsync<FarmApiException>(() => client.EditImagesAsync(request, [Png(12)], "k"))).Status);
    }

    [Theory]
    [InlineData("image", "missing", """{"prompt":"x"}""")]
    [InlineData("images", "empty", """{"prompt":"x","images":[]}""")]
    [InlineData("images[0]", "path", """{"prompt":"x","images":["/etc/hostname"]}""")]
    [InlineData("images[0]", "address", """{"prompt":"x","images":["http://127.0.0.1/cat.png"]}""")]
    [InlineData("images[0]", "no base64", """{"prompt":"x","images":["data:image/png;base64,%%"]}""")]
    [InlineData("images[0]", "no picture", """{"prompt":"x","images":["data:image/png;base64,AAAA"]}""")]
    [InlineData("images", "too many", """{"images":["a","a","a","a","a","a","a","a","a","a","a","a","a","a","a","a","a"]}""")]
    [InlineData("image_guidance", "out of range", """{"images":["data:,"],"image_guidance":101}""")]
    [InlineData("n", "out of range", """{"images":["data:,"],"n":11}""")]
    public async Task What_is_wrong_is_a_400_that_names_it(string param, string why, string json)
    {
        await using ToyServer server = await StartAsync();
        Error error = await (await server.Http.PostJsonAsync(Path, json)).ErrorAsync(HttpStatusCode.BadRequest);
        Assert.True(error.Param == param, $"{why}: {error}");
        Assert.Equal("invalid_request_error", error.Type);
    }

    [Theory]
    [InlineData("mask", "mask", "x")]
    [InlineData("n", "n", "many")]
    [InlineData("seed", "seed", "-1")]
    [InlineData("size", "size", "huge")]
    public async Task A_wrong_field_of_a_form_is_a_400_that_names_it(string param, string name, string value)
    {
        await using ToyServer server = await StartAsync();
        using var form = new MultipartFormDataContent { { Picture(8), "image", "cat.png" }, { new StringContent("x"), "prompt" }, { new StringContent(value), name } };
        Assert.Equal(param, (await (await server.Http.PostAsync(Path, form)).ErrorAsync(HttpStatusCode.BadRequest)).Param);
    }

    [Fact]
    public async Task Pictures_are_limited_in_number_and_bytes_and_a_damaged_one_is_told_of()
    {
        await using ToyServer server = await StartAsync(new WebOptions { MaxPictureBytes = 100_000 });
        using var many = new MultipartFormDataContent();
        for (int i = 0; i < 17; i++)
        {
            many.Add(Picture(8), "image[]", "cat.png");
        }

        Assert.Equal("image", (await (await server.Http.PostAsync(Path, many)).ErrorAsync(HttpStatusCode.BadRequest)).Param);
        using var large = new MultipartFormDataContent { { new ByteArrayContent(new byte[200_000]), "image", "cat.png" } };
        await (await server.Http.PostAsync(Path, large)).ErrorAsync(HttpStatusCode.RequestEntityTooLarge);
        using var cut = new MultipartFormDataContent { { new ByteArrayContent(Png(40)[..^30]), "image", "cat.png" } };
        Error error = await (await server.Http.PostAsync(Path, cut)).ErrorAsync(HttpStatusCode.BadRequest);
        Assert.Equal(("image", "invalid_image"), (error.Param, error.Code));
        using var named = new MultipartFormDataContent { { Picture(8), "image", new string('x', 1001) + ".png" } };
        Assert.Contains("file name", (await (await server.Http.PostAsync(Path, named)).ErrorAsync(HttpStatusCode.BadRequest)).Message, StringComparison.Ordinal);
        using var small = new MultipartFormDataContent { { new ByteArrayContent(Png(3)), "image", "cat.png" } };
        Assert.Contains("too small for toys", (await (await server.Http.PostAsync(Path, small)).ErrorAsync(HttpStatusCode.UnprocessableEntity)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Parts_without_content_count_too()
    {
        await using ToyServer server = await StartAsync(new WebOptions { MaxPictureBytes = 100_000 });
        using var empty = new MultipartFormDataContent();
        for (int i = 0; i < 200; i++)
        {
            empty.Add(new ByteArrayContent([]), $"f{i}");
        }

        Assert.True((await empty.ReadAsByteArrayAsync()).Length < 50_000);
        await (await server.Http.PostAsync(Path, empty)).ErrorAsync(HttpStatusCode.RequestEntityTooLarge);
    }

    [Fact]
    public void A_picture_in_JSON_that_is_too_large_is_a_413_that_names_its_place()
    {
        string uri = "data:image/png;base64," + Convert.ToBase64String(new byte[Farm.PictureLimits.MaxBytes + 1]);
        var refused = Assert.Throws<ApiException>(() => ImageDataUri.Read(uri, "images[1]"));
        Assert.Equal((413, "images[1]", "too_large"), (refused.Status, refused.Body.Error.Param, refused.Body.Error.Code));
        Assert.Equal("images[1] has 33554433 bytes; a picture may have 33554432", refused.Message);
    }

    [Fact]
    public async Task A_model_that_reads_no_pictures_says_so()
    {
        await using ToyServer server = await ToyServer.StartAsync();
        using var client = new FarmClient(server.Url);
        var refused = await Assert.ThrowsAsync<FarmApiException>(() => client.EditImagesAsync(new ImageEditRequest { Prompt = "x" }, [Png(8)]));
        Assert.Equal((422, "no picture could be made: the prompt has pictures, and the model reads none"), (refused.Status, refused.Error.Message));
    }

    [Fact]
    public async Task An_uploaded_file_finds_its_pictures_by_part_or_file_name_and_opens_nothing_else()
    {
        await using ToyServer server = await StartAsync();
        string lines = """{"prompt":"a","images":["cat.png"]}""" + "\n" + """{"prompt":"b","images":["d/dög.png"]}""" + "\n" + """{"prompt":"c","images":["/etc/hostname"]}""";
        using var form = new MultipartFormDataContent { { new StringContent(lines), "prompts", "p.jsonl" }, { Picture(8), "cat.png" } };
        var named = Picture(12);
        named.Headers.ContentDisposition = new("form-data") { Name = "pictures", FileNameStar = "d/dög.png" };
        form.Add(named);
        JsonElement job = await (await server.Http.PostAsync("/v1/jobs", form)).JsonAsync(HttpStatusCode.Accepted);
        using var client = new FarmClient(server.Url);
        Job ended = await EndAsync(client, job.GetProperty("id").GetString()!);
        Assert.Equal((JobStates.CompletedWithErrors, 2L, 1L), (ended.State, ended.Counts.Written, ended.Counts.Failed));
        Assert.Contains("/etc/hostname: no picture of this name was uploaded", Assert.Single((await client.ListFailuresAsync(ended.Id)).Data).Reason, StringComparison.Ordinal);

        using var twice = new MultipartFormDataContent { { new StringContent(lines), "prompts", "p.jsonl" }, { Picture(8), "cat.png" }, { Picture(8), "cat.png" } };
        Assert.Contains("comes twice", (await (await server.Http.PostAsync("/v1/jobs", twice)).ErrorAsync(HttpStatusCode.BadRequest)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_job_states_the_guidance_by_pictures_that_it_was_given()
    {
        await using ToyServer server = await StartAsync();
        using var client = new FarmClient(server.Url);
        var upload = new PictureUpload("cat.png", () => new MemoryStream(Png(8)));
        Job job = await client.UploadJobAsync(
            new JobRequest { ImageGuidance = 4 }, new MemoryStream(Encoding.UTF8.GetBytes("""{"prompt":"a","images":["cat.png"]}""")), "p.jsonl", [upload]);
        Assert.Equal(4, job.Settings.ImageGuidance);
        Assert.Equal(JobStates.Completed, (await EndAsync(client, job.Id)).State);
        Assert.Equal(4, (await client.GetSampleAsync(job.Id, 0)).Metadata.GetProperty("image_guidance").GetDouble());
        Assert.Null((await client.CreateJobAsync(new JobRequest { Prompts = ["x"] })).Settings.ImageGuidance);
    }

    private static Task<ToyServer> StartAsync(WebOptions? web = null) => ToyServer.StartAsync(web: web, model: new ToyModel { ReadsPictures = true });

    private static async Task<Job> EndAsync(FarmClient client, string id)
    {
        await foreach (JobEvent _ in client.WatchJobAsync(id))
        {
        }

        return await client.GetJobAsync(id);
    }

    private static byte[] Png(int side)
    {
        var picture = new RgbImage(side, side);
        Array.Fill(picture.Pixels, (byte)90);
        return ImageEncoder.Encode(picture, ImageFormat.Png);
    }

    private static ByteArrayContent Picture(int side) => new(Png(side));
}
