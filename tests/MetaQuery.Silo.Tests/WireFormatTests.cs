using System.Text.Json;
using MetaQuery.Client;
using MetaQuery.Farm;
using MetaQuery.Imaging;
using MetaQuery.Silo.Web;

namespace MetaQuery.Silo.Tests;

/// <summary>The wire's names and forms never change; members may be added at the end.</summary>
public sealed class WireFormatTests
{
    [Fact]
    public void A_job_is_written_so()
    {
        var view = new JobView(
            "job_1", "fruit", "team-a", JobKind.DataSet, JobPriority.Interactive, JobState.CompletedWithErrors, "2 images were given up", new Farm.JobCounts(3, 6, 6, 6, 5, 4, 2), double.NaN, TimeSpan.FromSeconds(1.5),
            new ResolvedSettings(new ImageSize(24, 16), 20, 4.5f, "blurry", ulong.MaxValue, 2, 10_000, ImageFormat.Jpeg, 95, 8), ["line 3: empty"], "dtype=float32",
            DateTimeOffset.UnixEpoch, DateTimeOffset.UnixEpoch.AddSeconds(1.25), DateTimeOffset.UnixEpoch.AddDays(1), null);
        Assert.Equal(
            """{"id":"job_1","object":"job","name":"fruit","tenant":"team-a","priority":"interactive","state":"completed_with_errors","reason":"2 images were given up","counts":{"prompts":3,"images":6,"planned":6,"encoded":6,"denoised":5,"written":4,"failed":2},"images_per_second":0,"seconds_left":1.5,"settings":{"size":"16x24","steps":20,"guidance":4.5,"negative_prompt":"blurry","seed":18446744073709551615,"images_per_prompt":2,"samples_per_shard":10000,"format":"jpg","quality":95,"batch_size":8},"skipped_lines":["line 3: empty"],"numerics":"dtype=float32","created_at":"1970-01-01T00:00:00+00:00","started_at":"1970-01-01T00:00:01.25+00:00","finished_at":"1970-01-02T00:00:00+00:00","expires_at":null}""",
            JsonSerializer.Serialize(Wire.Job(view), FarmJson.Default.Job));
    }

    [Fact]
    public void Requests_are_written_so()
    {
        Assert.Equal(
            """{"prompts":["x"],"name":null,"images_per_prompt":2,"size":"auto","steps":null,"guidance":null,"negative_prompt":null,"seed":7,"samples_per_shard":null,"format":"webp","quality":null,"batch_size":null,"priority":"bulk","skip_invalid":true,"deadline":"1970-01-01T00:00:00+00:00","task_timeout_seconds":1.5,"prompts_format":null}""",
            JsonSerializer.Serialize(
                new JobRequest { Prompts = ["x"], ImagesPerPrompt = 2, Size = "auto", Seed = 7, Format = "webp", Priority = "bulk", SkipInvalid = true, Deadline = DateTimeOffset.UnixEpoch, TaskTimeoutSeconds = 1.5 },
                FarmJson.Default.JobRequest));
        Assert.Equal(
            """{"prompt":"x","n":1,"size":null,"response_format":"url","model":null,"user":null,"quality":null,"style":null,"background":null,"moderation":null,"output_format":null,"output_compression":null,"stream":null,"seed":null,"steps":null,"guidance":null,"negative_prompt":null}""",
            JsonSerializer.Serialize(new ImageRequest { Prompt = "x", N = 1, ResponseFormat = "url" }, FarmJson.Default.ImageRequest));
    }

    [Fact]
    public void Errors_and_pictures_are_written_as_OpenAIs()
    {
        Assert.Equal(
            """{"error":{"message":"no","type":"invalid_request_error","param":null,"code":"job_state"}}""",
            JsonSerializer.Serialize(new ApiException(409, "no", code: "job_state").Body, FarmJson.Default.ErrorResponse));
        Assert.Equal(
            """{"created":1,"data":[{"url":"http://x"},{"b64_json":"AA=="}],"output_format":"png","size":"8x8"}""",
            JsonSerializer.Serialize(new ImageResponse(1, [new Client.GeneratedImage(null, "http://x"), new Client.GeneratedImage("AA==", null)], "png", "8x8"), FarmJson.Default.ImageResponse));
    }

    [Fact]
    public void Questions_and_answers_are_written_as_OpenAIs()
    {
        Assert.Equal(
            """{"messages":[{"role":"system","content":"Short."},{"role":"user","content":[{"type":"text","text":"What?"},{"type":"image_url","image_url":{"url":"data:image/png;base64,AAE="}}]}],"model":null,"stream":true,"stream_options":{"include_usage":true},"temperature":0.5,"top_p":null,"max_tokens":null,"max_completion_tokens":9,"stop":["a","b"],"seed":7,"n":null,"user":null,"frequency_penalty":null,"presence_penalty":null,"logprobs":null}""",
            JsonSerializer.Serialize(
                new ChatRequest
                {
                    Messages =
                    [
                        new ChatMessage { Role = "system", Content = "Short." },
                        new ChatMessage { Role = "user", Content = new ChatContent([ChatContentPart.OfText("What?"), ChatContentPart.OfImage([0, 1])]) },
                    ],
                    Stream = true, StreamOptions = new ChatStreamOptions(true), Temperature = 0.5, MaxCompletionTokens = 9, Stop = new ChatStop(["a", "b"]), Seed = 7,
                },
                FarmJson.Default.ChatRequest));
        Assert.Equal(
            """{"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"nano","choices":[{"index":0,"message":{"role":"assistant","content":"Paris."},"finish_reason":"stop"}],"usage":{"prompt_tokens":2,"completion_tokens":3,"total_tokens":5},"system_fingerprint":"fp_1"}""",
            JsonSerializer.Serialize(new ChatResponse("chatcmpl-1", "chat.completion", 1, "nano", [new ChatChoice(0, new ChatAnswer("assistant", "Paris."), "stop")], new ChatUsage(2, 3, 5), "fp_1"), FarmJson.Default.ChatResponse));
        Assert.Equal(
            """{"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"nano","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}],"system_fingerprint":"fp_1"}""",
            JsonSerializer.Serialize(new ChatChunk("chatcmpl-1", "chat.completion.chunk", 1, "nano", [new ChatChunkChoice(0, new ChatDelta("assistant", ""), null)], "fp_1"), FarmJson.Default.ChatChunk));
    }

    [Fact]
    public void States_of_the_client_are_those_of_the_farm()
    {
        string[] known = [.. typeof(JobStates).GetFields().Where(field => field.IsLiteral).Select(field => (string)field.GetRawConstantValue()!)];
        Assert.Equal(Enum.GetValues<JobState>().Select(JobLifecycle.NameOf).Order(), known.Order());
        Assert.All(Enum.GetValues<JobState>(), state => Assert.Equal(JobLifecycle.IsFinal(state), JobStates.IsFinal(JobLifecycle.NameOf(state))));
    }

    [Fact]
    public void A_url_secret_signs_as_before()
    {
        var signer = new UrlSigner(new byte[32], new FixedClock());
        Assert.Equal("/v1/jobs/job_1/samples/0/image?expires=4200&signature=af5646f8bf14d851bda44eac55abfb3f314dc2b55eee639e37f04a1a0d7ea607", signer.Sign("/v1/jobs/job_1/samples/0/image"));
    }

    private sealed class FixedClock : TimeProvider
    {
        public override DateTimeOffset GetUtcNow() => DateTimeOffset.UnixEpoch;
    }
}
