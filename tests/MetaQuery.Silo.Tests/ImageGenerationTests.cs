using System.Net;
using System.Text.Json;
using MetaQuery.Client;
using MetaQuery.Farm;
using MetaQuery.Imaging;
using MetaQuery.Silo.Tests.Doubles;
using MetaQuery.Silo.Web;

namespace MetaQuery.Silo.Tests;

/// <summary>What an ordinary OpenAI client sends, and what it needs to find in the answer.</summary>
public sealed class ImageGenerationTests
{
    private const string Path = "/v1/images/generations";

    [Fact]
    public async Task What_the_openai_package_sends_is_answered_as_it_expects()
    {
        await using FarmTestHost host = await FarmTestHost.StartAsync();
        // openai-python 1.x: client.images.generate(prompt=..., model="dall-e-3", n=2, size="auto", response_format="b64_json", quality="standard", style="vivid", user="u-1")
        HttpResponseMessage answer = await host.Http.PostJsonAsync(
            Path, """{"prompt": "a red apple", "model": "dall-e-3", "n": 2, "quality": "standard", "response_format": "b64_json", "size": "auto", "style": "vivid", "user": "u-1"}""",
            ("Authorization", "Bearer sk-not-checked-here"), ("User-Agent", "OpenAI/Python 1.54.4"), ("X-Stainless-Lang", "python"), ("X-Stainless-Retry-Count", "0"),
            ("Accept", "application/json"), ("OpenAI-Organization", "org-1"));
        JsonElement body = await answer.JsonAsync();
        Assert.InRange(DateTimeOffset.FromUnixTimeSeconds(body.GetProperty("created").GetInt64()), DateTimeOffset.UtcNow.AddMinutes(-5), DateTimeOffset.UtcNow.AddMinutes(1));
        JsonElement[] data = [.. body.GetProperty("data").EnumerateArray()];
        Assert.Equal(2, data.Length);
        Assert.All(data, image =>
        {
            Assert.Equal(["b64_json"], image.EnumerateObject().Select(member => member.Name));
            ImageHeader header = ImageDecoder.Identify(image.GetProperty("b64_json").GetBytesFromBase64());
            Assert.Equal((32, 32), (header.WidthPixels, header.HeightPixels));
        });
        Assert.NotEqual(data[0].GetProperty("b64_json").GetString(), data[1].GetProperty("b64_json").GetString());
        Assert.True(answer.Headers.Contains("x-request-id"));
    }

    [Fact]
    public async Task An_address_is_absolute_and_serves_the_picture()
    {
        await using FarmTestHost host = await FarmTestHost.StartAsync();
        JsonElement body = await (await host.Http.PostJsonAsync(Path, """{"prompt":"x","response_format":"url","size":"16x8","output_format":"webp","output_compression":50}""")).JsonAsync();
        var url = new Uri(Assert.Single(body.GetProperty("data").EnumerateArray()).GetProperty("url").GetString()!, UriKind.Absolute);
        HttpResponseMessage image = await host.Http.GetAsync(url);
        Assert.Equal("image/webp", image.Content.Headers.ContentType!.MediaType);
        ImageHeader header = ImageDecoder.Identify(await image.Content.ReadAsByteArrayAsync());
        Assert.Equal((16, 8), (header.WidthPixels, header.HeightPixels));
        Assert.Equal(("webp", "16x8"), (body.GetProperty("output_format").GetString(), body.GetProperty("size").GetString()));
    }

    [Fact]
    public async Task With_keys_an_address_needs_none()
    {
        using var folder = new TemporaryFolder();
        (ApiKey key, string text) = ApiKey.Create("a", false, 1, null, null, DateTimeOffset.UtcNow);
        new ApiKeyFile(folder.Path).Add(key);
        await using FarmTestHost host = await FarmTestHost.StartAsync(keys: new ApiKeyRing(new ApiKeyFile(folder.Path)));
        JsonElement body = await (await host.Http.PostJsonAsync(Path, """{"prompt":"x","response_format":"url"}""", ("Authorization", "Bearer " + text))).JsonAsync();
        Assert.Equal(HttpStatusCode.OK, (await host.Http.GetAsync(body.GetProperty("data")[0].GetProperty("url").GetString())).StatusCode);
    }

    [Theory]
    [InlineData("prompt", """{}""")]
    [InlineData("prompt", """{"prompt":null}""")]
    [InlineData("prompt", """{"prompt":""}""")]
    [InlineData("prompt", """{"prompt":" "}""")]
    [InlineData("prompt", """{"prompt":["x"]}""")]
    [InlineData("n", """{"prompt":"x","n":0}""")]
    [InlineData("n", """{"prompt":"x","n":11}""")]
    [InlineData("n", """{"prompt":"x","n":"1"}""")]
    [InlineData("size", """{"prompt":"x","size":"1024x1024"}""")]
    [InlineData("size", """{"prompt":"x","size":"large"}""")]
    [InlineData("response_format", """{"prompt":"x","response_format":"png"}""")]
    [InlineData("output_format", """{"prompt":"x","output_format":"gif"}""")]
    [InlineData("stream", """{"prompt":"x","stream":true}""")]
    [InlineData("user", """{"prompt":"x","user":7}""")]
    [InlineData("body", """{"prompt":"x",}""")]
    public async Task A_wrong_field_is_a_400_that_names_it(string param, string body)
    {
        await using FarmTestHost host = await FarmTestHost.StartAsync();
        Assert.Equal(param, (await (await host.Http.PostJsonAsync(Path, body)).ErrorAsync(HttpStatusCode.BadRequest)).Param);
    }

    [Fact]
    public async Task Fields_of_later_clients_are_passed_over_and_another_model_is_not_found()
    {
        await using FarmTestHost host = await FarmTestHost.StartAsync();
        await (await host.Http.PostJsonAsync(Path, """{"prompt":"x","partial_images":0,"input_fidelity":"high","n":null,"model":"toy","quality":"hd","background":"auto","moderation":"low"}""")).JsonAsync();
        Error error = await (await host.Http.PostJsonAsync(Path, """{"prompt":"x","model":"stable-horse"}""")).ErrorAsync(HttpStatusCode.NotFound);
        Assert.Equal(("model", "model_not_found"), (error.Param, error.Code));
        Assert.Equal("model_not_found", (await (await host.Http.GetAsync("/v1/models/stable-horse")).ErrorAsync(HttpStatusCode.NotFound)).Code);
        JsonElement models = await (await host.Http.GetAsync("/v1/models")).JsonAsync();
        Assert.Equal(("toy", "model"), models.GetProperty("data")[0] is var model ? (model.GetProperty("id").GetString(), model.GetProperty("object").GetString()) : default);
    }

    [Fact]
    public async Task The_same_seed_or_the_same_key_gives_the_same_pictures_and_otherwise_they_differ()
    {
        await using FarmTestHost host = await FarmTestHost.StartAsync();
        Assert.Equal(await MakeAsync("""{"prompt":"x","seed":7}"""), await MakeAsync("""{"prompt":"x","seed":7}"""));
        Assert.NotEqual(await MakeAsync("""{"prompt":"x"}"""), await MakeAsync("""{"prompt":"x"}"""));
        string key = new('k', 255);
        Assert.Equal(await MakeAsync("""{"prompt":"x"}""", ("Idempotency-Key", key)), await MakeAsync("""{"prompt":"x"}""", ("Idempotency-Key", key)));
        await (await host.Http.PostJsonAsync(Path, """{"prompt":"y"}""", ("Idempotency-Key", key))).ErrorAsync(HttpStatusCode.Conflict);

        async Task<string?> MakeAsync(string body, params (string, string)[] headers) =>
            (await (await host.Http.PostJsonAsync(Path, body, headers)).JsonAsync()).GetProperty("data")[0].GetProperty("b64_json").GetString();
    }

    [Fact]
    public async Task Pictures_that_cannot_be_made_are_an_error_with_the_reason()
    {
        await using FarmTestHost host = await FarmTestHost.StartAsync();
        Error error = await (await host.Http.PostJsonAsync(Path, """{"prompt":"this will fail"}""")).ErrorAsync(HttpStatusCode.UnprocessableEntity);
        Assert.Contains("does not like this prompt", error.Message, StringComparison.Ordinal);
        Assert.Equal("server_error", error.Type);
    }

    [Fact]
    public async Task A_request_that_waits_too_long_is_a_504_and_its_job_is_cancelled()
    {
        await using FarmTestHost host = await FarmTestHost.StartAsync(TimeSpan.FromMinutes(10), new WebOptions { RequestTimeout = TimeSpan.FromMilliseconds(200) });
        Error late = await (await host.Http.PostJsonAsync(Path, """{"prompt":"x"}""")).ErrorAsync(HttpStatusCode.GatewayTimeout);
        Assert.Equal(("timeout", "server_error", null), (late.Code, late.Type, late.Param));
        Assert.Contains("metaquery_jobs{state=\"cancelled\"} 1", await host.Http.GetStringAsync("/metrics"), StringComparison.Ordinal);
        Assert.Empty((await (await host.Http.GetAsync("/v1/jobs")).JsonAsync()).GetProperty("data").EnumerateArray()); // a request's job is in no list
    }

    [Fact]
    public async Task Pictures_that_are_ready_in_the_moment_of_the_time_out_are_given()
    {
        using var farm = new FakeFarm(TimeSpan.FromMinutes(10)) { EndsBeforeCancel = true };
        await using FarmTestHost host = await FarmTestHost.StartAsync(farm, new WebOptions { RequestTimeout = TimeSpan.FromMilliseconds(200) });
        JsonElement body = await (await host.Http.PostJsonAsync(Path, """{"prompt":"x","n":2}""")).JsonAsync();
        Assert.Equal(2, body.GetProperty("data").GetArrayLength());
    }

    [Fact]
    public async Task A_farm_that_is_not_ready_says_why()
    {
        using var farm = new FakeFarm(TimeSpan.Zero) { Readiness = new FarmReadiness(false, "no worker is there") };
        await using FarmTestHost host = await FarmTestHost.StartAsync(farm);
        JsonElement body = await (await host.Http.GetAsync("/readyz")).JsonAsync(HttpStatusCode.ServiceUnavailable);
        Assert.Equal(("not_ready", "no worker is there"), (body.GetProperty("status").GetString(), body.GetProperty("reason").GetString()));
        await (await host.Http.GetAsync("/healthz")).JsonAsync();
    }
}
