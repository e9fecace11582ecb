using System.Net;
using System.Text.Json;
using MetaQuery.Client;
using MetaQuery.Silo.Tests.Doubles;

namespace MetaQuery.Silo.Tests;

/// <summary>Jobs by JSON: taken, listed, steered, refused.</summary>
public sealed class JobEndpointTests
{
    private static readonly TimeSpan Slow = TimeSpan.FromMinutes(10);

    [Fact]
    public async Task A_job_is_taken_with_all_its_settings_and_ends()
    {
        await using FarmTestHost host = await FarmTestHost.StartAsync();
        HttpResponseMessage answer = await host.Http.PostJsonAsync("/v1/jobs", """
            {"prompts":["a red apple","will fail","ein Apfel 🍎"],"name":"fruit","images_per_prompt":2,"size":"16x24","steps":7,"guidance":2.5,"negative_prompt":"blurry","seed":18446744073709551615,
             "samples_per_shard":100,"format":"png","quality":80,"batch_size":2,"priority":"interactive","skip_invalid":true,"deadline":"2099-01-01T00:00:00Z","task_timeout_seconds":60.5}
            """);
        JsonElement job = await answer.JsonAsync(HttpStatusCode.Accepted);
        Assert.Equal("job", job.GetProperty("object").GetString());
        Assert.Equal("interactive", job.GetProperty("priority").GetString());
        JsonElement settings = job.GetProperty("settings");
        Assert.Equal("16x24", settings.GetProperty("size").GetString());
        Assert.Equal(ulong.MaxValue, settings.GetProperty("seed").GetUInt64());
        Assert.Equal("blurry", settings.GetProperty("negative_prompt").GetString());
        Job ended = await host.EndAsync(job.GetProperty("id").GetString()!);
        Assert.Equal((JobStates.CompletedWithErrors, 6, 4, 2), (ended.State, ended.Counts.Images, ended.Counts.Written, ended.Counts.Failed));
        JsonElement failures = await (await host.Http.GetAsync($"/v1/jobs/{ended.Id}/failures?limit=1")).JsonAsync();
        Assert.Equal("will fail", Assert.Single(failures.GetProperty("data").EnumerateArray()).GetProperty("prompt").GetString());
    }

    [Theory]
    [InlineData("prompts", """{}""")]
    [InlineData("prompts", """{"prompts":null}""")]
    [InlineData("prompts", """{"prompts":[]}""")]
    [InlineData("prompts", """{"prompts":"a red apple"}""")]
    [InlineData("prompts[0]", """{"prompts":[1]}""")]
    [InlineData("prompts[0]", """{"prompts":["\ud800"]}""")]
    [InlineData("prompts[0]", """{"prompts":["  "]}""")]
    [InlineData("prompts[1]", """{"prompts":["x",null]}""")]
    [InlineData("prompts[0]", """{"prompts":["a\u0000b"]}""")]
    [InlineData("images_per_prompt", """{"prompts":["x"],"images_per_prompt":0}""")]
    [InlineData("images_per_prompt", """{"prompts":["x"],"images_per_prompt":1.5}""")]
    [InlineData("images_per_prompt", """{"prompts":["x"],"images_per_prompt":99999999999999999999}""")]
    [InlineData("images_per_prompt", """{"prompts":["x"],"images_per_prompt":"2"}""")]
    [InlineData("steps", """{"prompts":["x"],"steps":1001}""")]
    [InlineData("guidance", """{"prompts":["x"],"guidance":-1}""")]
    [InlineData("guidance", """{"prompts":["x"],"guidance":1e39}""")]
    [InlineData("size", """{"prompts":["x"],"size":"big"}""")]
    [InlineData("size", """{"prompts":["x"],"size":""}""")]
    [InlineData("body", "fal\nse")]
    [InlineData("size", """{"prompts":["x"],"size":"33x32"}""")]
    [InlineData("size", """{"prompts":["x"],"size":"72x32"}""")]
    [InlineData("size", """{"prompts":["x"],"size":64}""")]
    [InlineData("seed", """{"prompts":["x"],"seed":-1}""")]
    [InlineData("seed", """{"prompts":["x"],"seed":18446744073709551616}""")]
    [InlineData("format", """{"prompts":["x"],"format":"gif"}""")]
    [InlineData("quality", """{"prompts":["x"],"quality":101}""")]
    [InlineData("batch_size", """{"prompts":["x"],"batch_size":0}""")]
    [InlineData("priority", """{"prompts":["x"],"priority":"urgent"}""")]
    [InlineData("skip_invalid", """{"prompts":["x"],"skip_invalid":"yes"}""")]
    [InlineData("deadline", """{"prompts":["x"],"deadline":"tomorrow"}""")]
    [InlineData("deadline", """{"prompts":["x"],"deadline":"2001-01-01T00:00:00Z"}""")]
    [InlineData("task_timeout_seconds", """{"prompts":["x"],"task_timeout_seconds":0}""")]
    [InlineData("name", """{"prompts":["x"],"name":"a\nb"}""")]
    [InlineData("prompts_format", """{"prompts":["x"],"prompts_format":"txt"}""")]
    [InlineData("stepz", """{"prompts":["x"],"stepz":3}""")]
    [InlineData("body", """{"prompts":["x"]""")]
    [InlineData("body", """["x"]""")]
    [InlineData("body", """{"prompts":["x"],"seed":1,"seed":2}""")]
    [InlineData("body", """{"\ud800":1}""")]
    [InlineData("body", "")]
    public async Task A_wrong_body_is_a_400_that_names_the_field(string param, string body)
    {
        await using FarmTestHost host = await FarmTestHost.StartAsync();
        Error error = await (await host.Http.PostJsonAsync("/v1/jobs", body)).ErrorAsync(HttpStatusCode.BadRequest);
        Assert.Equal((param, "invalid_request_error"), (error.Param, error.Type));
        Assert.Contains(param.Split('[')[0], error.Message, StringComparison.Ordinal);
        Assert.Empty((await (await host.Http.GetAsync("/v1/jobs")).JsonAsync()).GetProperty("data").EnumerateArray());
    }

    [Fact]
    public async Task Limits_of_length_are_kept()
    {
        await using FarmTestHost host = await FarmTestHost.StartAsync(options: new Web.WebOptions { MaxBodyBytes = 200_000 });
        string longest = new('a', JobRequest.MaxPromptCharacters);
        await host.Http.SubmitAsync($$"""{"prompts":["{{longest}}"]}""");
        Assert.Equal("prompts[0]", (await (await host.Http.PostJsonAsync("/v1/jobs", $$"""{"prompts":["{{longest}}a"]}""")).ErrorAsync(HttpStatusCode.BadRequest)).Param);
        Assert.Equal("negative_prompt", (await (await host.Http.PostJsonAsync("/v1/jobs", $$"""{"prompts":["x"],"negative_prompt":"{{longest}}a"}""")).ErrorAsync(HttpStatusCode.BadRequest)).Param);
        Assert.Equal("name", (await (await host.Http.PostJsonAsync("/v1/jobs", $$"""{"prompts":["x"],"name":"{{new string('n', 201)}}"}""")).ErrorAsync(HttpStatusCode.BadRequest)).Param);
        string many = string.Join(',', Enumerable.Repeat("\"x\"", JobRequest.MaxPrompts + 1));
        Assert.Equal("prompts", (await (await host.Http.PostJsonAsync("/v1/jobs", $$"""{"prompts":[{{many}}]}""")).ErrorAsync(HttpStatusCode.BadRequest)).Param);
        Assert.Equal("body", (await (await host.Http.PostJsonAsync("/v1/jobs", $$"""{"prompts":["{{new string('a', 250_000)}}"]}""")).ErrorAsync(HttpStatusCode.RequestEntityTooLarge)).Param);
        Assert.Equal("body", (await (await host.Http.PostJsonAsync("/v1/jobs", new string('[', 1000))).ErrorAsync(HttpStatusCode.BadRequest)).Param);
    }

    [Fact]
    public async Task A_body_of_another_type_is_a_415_and_an_unknown_method_a_405()
    {
        await using FarmTestHost host = await FarmTestHost.StartAsync();
        Error error = await (await host.Http.PostAsync("/v1/jobs", new StringContent("""{"prompts":["x"]}"""))).ErrorAsync(HttpStatusCode.UnsupportedMediaType);
        Assert.Equal("Content-Type", error.Param);
        Assert.Equal("method_not_allowed", (await (await host.Http.PutAsync("/v1/jobs", null)).ErrorAsync(HttpStatusCode.MethodNotAllowed)).Code);
        Assert.Equal("not_found", (await (await host.Http.GetAsync("/v1/nothing")).ErrorAsync(HttpStatusCode.NotFound)).Code);
        Assert.Equal("not_found", (await (await host.Http.GetAsync("/v1/jobs/job_99999")).ErrorAsync(HttpStatusCode.NotFound)).Code);
        Assert.Equal("not_found", (await (await host.Http.GetAsync("/v1/jobs/..%2F..%2Fetc%2Fpasswd")).ErrorAsync(HttpStatusCode.NotFound)).Code);
    }

    [Fact]
    public async Task Jobs_come_in_pages_newest_first_and_by_state()
    {
        await using FarmTestHost host = await FarmTestHost.StartAsync(Slow);
        List<string> made = [];
        for (int i = 0; i < 5; i++)
        {
            made.Add(await host.Http.SubmitAsync());
        }

        await host.Http.PostAsync($"/v1/jobs/{made[2]}/cancel", null);
        List<string> listed = [];
        string? after = null;
        do
        {
            JsonElement page = await (await host.Http.GetAsync($"/v1/jobs?limit=2{(after is null ? "" : $"&after={after}")}")).JsonAsync();
            listed.AddRange(page.GetProperty("data").EnumerateArray().Select(job => job.GetProperty("id").GetString()!));
            after = page.GetProperty("next").GetString();
        }
        while (after is not null);
        Assert.Equal(made.AsEnumerable().Reverse(), listed);
        JsonElement cancelled = await (await host.Http.GetAsync("/v1/jobs?state=cancelled,failed")).JsonAsync();
        Assert.Equal(made[2], Assert.Single(cancelled.GetProperty("data").EnumerateArray()).GetProperty("id").GetString());
        foreach ((string param, string query) in ((string, string)[])[("limit", "limit=0"), ("limit", "limit=x"), ("limit", "limit=1&limit=2"), ("state", "state=asleep")])
        {
            Assert.Equal(param, (await (await host.Http.GetAsync("/v1/jobs?" + query)).ErrorAsync(HttpStatusCode.BadRequest)).Param);
        }
    }

    [Fact]
    public async Task A_job_is_paused_resumed_cancelled_and_deleted_and_the_table_of_states_is_kept()
    {
        await using FarmTestHost host = await FarmTestHost.StartAsync(Slow);
        string id = await host.Http.SubmitAsync();
        Assert.Equal("paused", await SteerAsync("pause"));
        Assert.Equal("paused", await SteerAsync("pause"));
        Assert.NotEqual("paused", await SteerAsync("resume"));
        Assert.Equal("job_state", (await (await host.Http.DeleteAsync($"/v1/jobs/{id}")).ErrorAsync(HttpStatusCode.Conflict)).Code);
        Assert.Equal("cancelled", await SteerAsync("cancel"));
        Assert.Equal("job_state", (await (await host.Http.PostAsync($"/v1/jobs/{id}/resume", null)).ErrorAsync(HttpStatusCode.Conflict)).Code);
        await (await host.Http.DeleteAsync($"/v1/jobs/{id}")).JsonAsync();
        await (await host.Http.GetAsync($"/v1/jobs/{id}")).ErrorAsync(HttpStatusCode.NotFound);

        async Task<string?> SteerAsync(string command) => (await (await host.Http.PostAsync($"/v1/jobs/{id}/{command}", null)).JsonAsync()).GetProperty("state").GetString();
    }

    [Fact]
    public async Task What_failed_is_tried_again()
    {
        await using FarmTestHost host = await FarmTestHost.StartAsync();
        string id = await host.Http.SubmitAsync("""{"prompts":["fail","x"]}""");
        Assert.Equal(JobStates.CompletedWithErrors, (await host.EndAsync(id)).State);
        await (await host.Http.PostAsync($"/v1/jobs/{id}/retry-failed", null)).JsonAsync();
        Assert.Equal(JobStates.Completed, (await host.EndAsync(id)).State);
    }

    [Fact]
    public async Task An_idempotency_key_gives_the_same_job_for_the_same_content_and_a_409_for_another()
    {
        await using FarmTestHost host = await FarmTestHost.StartAsync();
        const string Key = "Idempotency-Key";
        string body = """{"prompts":["x"],"seed":5}""";
        string first = (await (await host.Http.PostJsonAsync("/v1/jobs", body, (Key, "k-1"))).JsonAsync(HttpStatusCode.Accepted)).GetProperty("id").GetString()!;
        Assert.Equal(first, (await (await host.Http.PostJsonAsync("/v1/jobs", body, (Key, "k-1"))).JsonAsync(HttpStatusCode.Accepted)).GetProperty("id").GetString());
        Assert.NotEqual(first, (await (await host.Http.PostJsonAsync("/v1/jobs", body, (Key, "k-2"))).JsonAsync(HttpStatusCode.Accepted)).GetProperty("id").GetString());
        Error conflict = await (await host.Http.PostJsonAsync("/v1/jobs", """{"prompts":["y"]}""", (Key, "k-1"))).ErrorAsync(HttpStatusCode.Conflict);
        Assert.Equal((Key, "idempotency_conflict"), (conflict.Param, conflict.Code));
        foreach (string wrong in (string[])["", "a b", new string('k', 256)])
        {
            Assert.Equal(Key, (await (await host.Http.PostJsonAsync("/v1/jobs", body, (Key, wrong))).ErrorAsync(HttpStatusCode.BadRequest)).Param);
        }
    }
}
