using System.Net;
using System.Text.Json;
using MetaQuery.Client;
using MetaQuery.Pipelines;
using MetaQuery.Silo.Tests.Doubles;
using MetaQuery.Silo.Web;
using MetaQuery.TestKit;

namespace MetaQuery.Silo.Tests;

/// <summary>Questions over HTTP to a real language model, as OpenAI's clients ask them.</summary>
[Collection(nameof(ChattingModel))]
public sealed class ChatTests(ChattingModel chatting)
{
    private const string Path = "/v1/chat/completions";
    private const string Capital = """{"messages":[{"role":"user","content":"What is the capital of France?"}]}""";

    private async Task<FarmTestHost> StartAsync(int slots = 1, int mostWaiting = 64, WebOptions? options = null, ApiKeyRing? keys = null)
    {
        var service = new ChatService(chatting.Nano, "fp_test", slots, mostWaiting);
        options = (options ?? new WebOptions()) with { Chat = service };
        return await FarmTestHost.StartAsync(new FakeFarm(TimeSpan.Zero, keys), options, keys, owned: service);
    }

    [Fact]
    public async Task What_the_openai_package_sends_is_answered_as_it_expects()
    {
        await using FarmTestHost host = await StartAsync();
        // openai-python 1.x: client.chat.completions.create(model="gpt-4o", messages=[...], temperature=0, max_tokens=40)
        JsonElement body = await (await host.Http.PostJsonAsync(
            Path, """{"messages":[{"role":"developer","content":"You answer in one sentence."},{"role":"user","content":[{"type":"text","text":"What is the capital of France?"}]}],"model":"gpt-4o","temperature":0,"max_tokens":40}""",
            ("Authorization", "Bearer sk-not-checked-here"), ("User-Agent", "OpenAI/Python 1.54.4"))).JsonAsync();
        Assert.Equal(["id", "object", "created", "model", "choices", "usage", "system_fingerprint"], body.EnumerateObject().Select(member => member.Name));
        Assert.StartsWith("chatcmpl-", body.GetProperty("id").GetString(), StringComparison.Ordinal);
        Assert.Equal(("chat.completion", "toy", "fp_test"), (body.GetProperty("object").GetString(), body.GetProperty("model").GetString(), body.GetProperty("system_fingerprint").GetString()));
        JsonElement choice = Assert.Single(body.GetProperty("choices").EnumerateArray());
        Assert.Equal((0, "assistant", "stop"), (choice.GetProperty("index").GetInt32(), choice.GetProperty("message").GetProperty("role").GetString(), choice.GetProperty("finish_reason").GetString()));
        Assert.Contains("Paris", choice.GetProperty("message").GetProperty("content").GetString(), StringComparison.Ordinal);
        JsonElement usage = body.GetProperty("usage");
        Assert.InRange(usage.GetProperty("completion_tokens").GetInt32(), 3, 40);
        Assert.Equal(usage.GetProperty("total_tokens").GetInt32(), usage.GetProperty("prompt_tokens").GetInt32() + usage.GetProperty("completion_tokens").GetInt32());
    }

    [Fact]
    public async Task A_stream_has_a_chunk_per_piece_then_the_reason_the_usage_and_DONE()
    {
        await using FarmTestHost host = await StartAsync();
        string whole = (await (await host.Http.PostJsonAsync(Path, Capital)).JsonAsync()).GetProperty("choices")[0].GetProperty("message").GetProperty("content").GetString()!;
        HttpResponseMessage answer = await host.Http.PostJsonAsync(Path, Capital[..^1] + ""","stream":true,"stream_options":{"include_usage":true}}""");
        Assert.Equal("text/event-stream", answer.Content.Headers.ContentType!.MediaType);
        string text = await answer.Content.ReadAsStringAsync();
        string[] events = text.Split("\n\n", StringSplitOptions.RemoveEmptyEntries);
        Assert.All(events, line => Assert.StartsWith("data: ", line, StringComparison.Ordinal));
        Assert.Equal("data: [DONE]", events[^1]);
        JsonElement[] chunks = [.. events[..^1].Select(line => JsonDocument.Parse(line["data: ".Length..]).RootElement)];
        Assert.Single(chunks.Select(chunk => (chunk.GetProperty("id").GetString(), chunk.GetProperty("object").GetString())).Distinct());
        Assert.Equal("chat.completion.chunk", chunks[0].GetProperty("object").GetString());
        Assert.Equal("assistant", chunks[0].GetProperty("choices")[0].GetProperty("delta").GetProperty("role").GetString());
        Assert.Equal(whole, string.Concat(chunks[1..^2].Select(chunk => chunk.GetProperty("choices")[0].GetProperty("delta").GetProperty("content").GetString())));
        Assert.All(chunks[..^2], chunk => Assert.Equal(JsonValueKind.Null, chunk.GetProperty("choices")[0].GetProperty("finish_reason").ValueKind));
        Assert.Equal("stop", chunks[^2].GetProperty("choices")[0].GetProperty("finish_reason").GetString());
        Assert.Equal(0, chunks[^1].GetProperty("choices").GetArrayLength());
        Assert.True(chunks[^1].GetProperty("usage").GetProperty("prompt_tokens").GetInt32() > 0);
    }

    [Fact]
    public async Task Greedy_answers_repeat_seeds_choose_and_limits_cut()
    {
        await using FarmTestHost host = await StartAsync();
        using var client = new FarmClient(host.Url);
        var request = new ChatRequest { Messages = [new ChatMessage { Role = "user", Content = "Write a line about the sea." }], MaxCompletionTokens = 8 };
        async Task<ChatChoice> Ask(ChatRequest asked) => (await client.ChatAsync(asked)).Choices[0];
        Assert.Equal(await Ask(request), await Ask(request));
        Assert.Equal("length", (await Ask(request)).FinishReason);
        ChatRequest drawn = request with { Temperature = 1.3, TopP = 0.95, Seed = 1L << 40 };
        Assert.Equal(await Ask(drawn), await Ask(drawn));
        Assert.NotEqual((await Ask(drawn)).Message.Content, (await Ask(drawn with { Seed = (1L << 40) + 1 })).Message.Content);
        var texts = new List<string>();
        await foreach (ChatChunk chunk in client.StreamChatAsync(drawn))
        {
            texts.AddRange(chunk.Choices.Select(choice => choice.Delta.Content ?? ""));
        }

        Assert.Equal((await Ask(drawn)).Message.Content, string.Concat(texts));
        ChatChoice stopped = await Ask(new ChatRequest { Messages = [new ChatMessage { Role = "user", Content = "What is the capital of France?" }], Stop = new ChatStop(["Paris", "."]) });
        Assert.Equal(("The capital of France is ", "stop"), (stopped.Message.Content, stopped.FinishReason));
    }

    [Fact]
    public async Task What_is_wrong_with_a_request_is_told_by_its_field()
    {
        await using FarmTestHost host = await StartAsync();
        foreach ((string body, string param, string code) in new[]
        {
            ("{}", "messages", "missing_field"),
            ("""{"messages":[]}""", "messages", "invalid_value"),
            ("""{"messages":"hello"}""", "messages", "invalid_value"),
            ("""{"messages":[null]}""", "messages[0]", "invalid_value"),
            ("""{"messages":[{"role":"user","content":"x"},{"role":"assistant","content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,AAAA"}}]}]}""", "messages[1].content", "invalid_value"),
            ("""{"messages":[{"role":"tool","content":"x"}]}""", "messages[0].role", "invalid_value"),
            ("""{"messages":[{"role":7,"content":"x"}]}""", "messages[0].role", "invalid_value"),
            ("""{"messages":[{"role":"user","content":null}]}""", "messages[0].content", "invalid_value"),
            ("""{"messages":[{"role":"user","content":[]}]}""", "messages[0].content", "invalid_value"),
            ("""{"messages":[{"role":"user","content":[{"type":"text","text":"x"},{"type":"video"}]}]}""", "messages[0].content[1].type", "invalid_value"),
            ("""{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"http://127.0.0.1/x.png"}}]}]}""", "messages[0].content.image_url.url", "invalid_image_url"),
            ("""{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"/etc/passwd"}}]}]}""", "messages[0].content.image_url.url", "invalid_image_url"),
            ("""{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"file:///etc/passwd"}}]}]}""", "messages[0].content.image_url.url", "invalid_image_url"),
            ("""{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,!!"}}]}]}""", "messages[0].content.image_url.url", "invalid_image_url"),
            ("""{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,AAAA"}}]}]}""", "messages[0].content.image_url.url", "invalid_image"),
            ("""{"messages":[{"role":"user","content":"x"}],"temperature":3}""", "temperature", "invalid_value"),
            ("""{"messages":[{"role":"user","content":"x"}],"n":2}""", "n", "invalid_value"),
            ("""{"messages":[{"role":"user","content":"x"}],"stop":["a","b","c","d","e"]}""", "stop", "invalid_value"),
            ("""{"messages":[{"role":"user","content":"x"}],"stop":7}""", "stop", "invalid_value"),
            ("""{"messages":[{"role":"user","content":"x"}],"tools":[{"type":"function"}]}""", "tools", "unsupported_field"),
            ("""{"messages":[{"role":"user","content":"x"}],"response_format":{"type":"json_object"}}""", "response_format", "unsupported_field"),
        })
        {
            Error error = await (await host.Http.PostJsonAsync(Path, body)).ErrorAsync(HttpStatusCode.BadRequest);
            Assert.Equal((body, param, code), (body, error.Param, error.Code));
        }

        Assert.Equal("model_not_found", (await (await host.Http.PostJsonAsync(Path, Capital[..^1] + ""","model":"llama"}""")).ErrorAsync(HttpStatusCode.NotFound)).Code);
        string longText = string.Concat(Enumerable.Repeat("word ", 9000));
        Error full = await (await host.Http.PostJsonAsync(Path, $$"""{"messages":[{"role":"user","content":"{{longText}}"}],"stream":true}""")).ErrorAsync(HttpStatusCode.BadRequest);
        Assert.Equal(("messages", "context_length_exceeded"), (full.Param, full.Code));
    }

    [Fact]
    public async Task A_picture_for_a_model_without_eyes_is_refused()
    {
        await using FarmTestHost host = await StartAsync();
        using var client = new FarmClient(host.Url);
        var refused = await Assert.ThrowsAsync<FarmApiException>(() => client.ChatAsync(new ChatRequest { Messages = [new ChatMessage { Role = "user", Content = new ChatContent([ChatContentPart.OfImage(Png())]) }] }));
        Assert.Equal((400, "images_not_supported"), (refused.Status, refused.Error.Code));
    }

    [Fact]
    public async Task A_picture_in_a_data_URI_is_seen_by_a_model_with_eyes()
    {
        using var folder = new TemporaryFolder();
        string source = System.IO.Path.Combine(RepositoryFolders.VisibleFixtures, "mllm", "metaquery-condition-qwenvl");
        foreach ((string from, string to) in new[] { ("checkpoint", ""), ("mllm", "mllm") })
        {
            Directory.CreateDirectory(folder[to]);
            foreach (string file in Directory.GetFiles(System.IO.Path.Combine(source, from)))
            {
                File.Copy(file, System.IO.Path.Combine(folder[to], System.IO.Path.GetFileName(file)));
            }
        }

        foreach (string part in new[] { "transformer/config.json", "vae/config.json", "scheduler/scheduler_config.json" })
        {
            Directory.CreateDirectory(System.IO.Path.GetDirectoryName(folder[part])!);
            File.WriteAllText(folder[part], "{}");
        }

        using ChatModel model = ChatModel.Load(MetaQueryModelFolder.Open(folder.Path));
        using var service = new ChatService(model, "fp");
        await using FarmTestHost host = await FarmTestHost.StartAsync(new FakeFarm(TimeSpan.Zero), new WebOptions { Chat = service });
        using var client = new FarmClient(host.Url);
        ChatRequest About(params ChatContentPart[] parts) => new() { Messages = [new ChatMessage { Role = "user", Content = new ChatContent([.. parts, ChatContentPart.OfText("What is shown?")]) }], MaxTokens = 4 };
        ChatResponse without = await client.ChatAsync(About()), one = await client.ChatAsync(About(ChatContentPart.OfImage(Png()))), two = await client.ChatAsync(About(ChatContentPart.OfImage(Png()), ChatContentPart.OfImage(Png(7))));
        int picture = one.Usage.PromptTokens - without.Usage.PromptTokens;
        Assert.True(picture > 0);
        Assert.Equal(2 * picture, two.Usage.PromptTokens - without.Usage.PromptTokens);
        using ChatSession session = model.NewSession(new ChatOptions(MaxNewTokens: 4), withImages: true);
        Assert.Equal(string.Concat(session.Ask("What is shown?", [PromptImage.OfFile(Png())])), one.Choices[0].Message.Content);
        byte[] torn = Png()[..^40];
        var refused = await Assert.ThrowsAsync<FarmApiException>(() => client.ChatAsync(About(ChatContentPart.OfImage(torn))));
        Assert.Equal((400, "invalid_image"), (refused.Status, refused.Error.Code));
    }

    [Fact]
    public async Task Who_leaves_frees_the_place_and_who_finds_too_many_waiting_is_told_to_come_again()
    {
        await using FarmTestHost host = await StartAsync(slots: 1, mostWaiting: 1);
        const string Long = """{"messages":[{"role":"user","content":"Write a very long story about the sea."}],"max_tokens":4000,"temperature":1.2,"seed":3,"stream":true}""";
        using var leave = new CancellationTokenSource();
        HttpResponseMessage first = await host.Http.SendAsync(
            new HttpRequestMessage(HttpMethod.Post, Path) { Content = new StringContent(Long, System.Text.Encoding.UTF8, "application/json") }, HttpCompletionOption.ResponseHeadersRead, leave.Token);
        Assert.Equal(HttpStatusCode.OK, first.StatusCode); // it is being answered
        using var leaveQueue = new CancellationTokenSource();
        Task<HttpResponseMessage> waiting = host.Http.SendAsync(new HttpRequestMessage(HttpMethod.Post, Path) { Content = new StringContent(Capital, System.Text.Encoding.UTF8, "application/json") });
        // the second may arrive after the third, which then waits in its place: one of two is refused
        Task<HttpResponseMessage> other = host.Http.SendAsync(new HttpRequestMessage(HttpMethod.Post, Path) { Content = new StringContent(Capital, System.Text.Encoding.UTF8, "application/json") });
        Task<HttpResponseMessage> refused = await Task.WhenAny(waiting, other);
        Error full = await (await refused).ErrorAsync(HttpStatusCode.TooManyRequests);
        Assert.Equal("queue_full", full.Code);
        Assert.True((await refused).Headers.RetryAfter is not null);
        first.Dispose(); // leaves
        HttpResponseMessage answered = await (refused == waiting ? other : waiting);
        Assert.Contains("Paris", (await answered.JsonAsync()).GetProperty("choices")[0].GetProperty("message").GetProperty("content").GetString(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Keys_and_rates_hold_for_questions_too()
    {
        using var folder = new TemporaryFolder();
        (ApiKey key, string text) = ApiKey.Create("a", false, 1, null, null, DateTimeOffset.UtcNow);
        new ApiKeyFile(folder.Path).Add(key);
        await using FarmTestHost host = await StartAsync(options: new WebOptions { RequestsPerMinute = 1 }, keys: new ApiKeyRing(new ApiKeyFile(folder.Path)));
        await (await host.Http.PostJsonAsync(Path, Capital)).ErrorAsync(HttpStatusCode.Unauthorized);
        await (await host.Http.PostJsonAsync(Path, Capital, ("Authorization", "Bearer " + text))).JsonAsync();
        Error often = await (await host.Http.PostJsonAsync(Path, Capital, ("Authorization", "Bearer " + text))).ErrorAsync(HttpStatusCode.TooManyRequests);
        Assert.Equal("rate_limit_exceeded", often.Code);
    }

    [Fact]
    public async Task A_tenant_cannot_take_all_places_and_a_question_that_finds_none_is_not_read()
    {
        using var folder = new TemporaryFolder();
        (ApiKey a, string crowded) = ApiKey.Create("a", false, 1, null, null, DateTimeOffset.UtcNow);
        (ApiKey b, string calm) = ApiKey.Create("b", false, 1, null, null, DateTimeOffset.UtcNow);
        var file = new ApiKeyFile(folder.Path);
        file.Add(a);
        file.Add(b);
        await using FarmTestHost host = await StartAsync(slots: 2, options: new WebOptions { MaxChatsOfTenant = 1 }, keys: new ApiKeyRing(file));
        const string Long = """{"messages":[{"role":"user","content":"Write a very long story about the sea."}],"max_tokens":4000,"temperature":1.2,"seed":3,"stream":true}""";
        var asked = new HttpRequestMessage(HttpMethod.Post, Path) { Content = new StringContent(Long, System.Text.Encoding.UTF8, "application/json") };
        asked.Headers.Authorization = new("Bearer", crowded);
        using HttpResponseMessage first = await host.Http.SendAsync(asked, HttpCompletionOption.ResponseHeadersRead);
        Assert.Equal(HttpStatusCode.OK, first.StatusCode); // it is being answered
        (HttpRequestMessage request, UnsentContent body) = UnsentContent.Post(Path, "application/json", crowded);
        Error full = await (await host.Http.SendAsync(request)).ErrorAsync(HttpStatusCode.TooManyRequests);
        Assert.Equal("queue_full", full.Code);
        Assert.Contains("for tenant a", full.Message, StringComparison.Ordinal);
        Assert.False(body.WasAskedFor);
        await (await host.Http.PostJsonAsync(Path, Capital, ("Authorization", "Bearer " + calm))).JsonAsync();
    }

    [Fact]
    public async Task A_server_without_a_language_model_says_how_to_have_one()
    {
        await using FarmTestHost host = await FarmTestHost.StartAsync();
        Error error = await (await host.Http.PostJsonAsync(Path, Capital)).ErrorAsync(HttpStatusCode.NotFound);
        Assert.Equal("chat_not_served", error.Code);
        Assert.Contains("--chat-slots", error.Message, StringComparison.Ordinal);
    }

    private static byte[] Png(int shade = 0)
    {
        var image = new Imaging.RgbImage(60, 60);
        for (int i = 0; i < image.Pixels.Length; i++)
        {
            image.Pixels[i] = (byte)((i * 31) + shade);
        }

        return Imaging.ImageEncoder.Encode(image, Imaging.ImageFormat.Png);
    }
}
