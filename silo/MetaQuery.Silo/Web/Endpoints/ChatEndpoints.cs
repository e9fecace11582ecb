using System.Buffers;
using System.IO.Pipelines;
using System.Security.Cryptography;
using System.Text.Json;
using MetaQuery.Client;
using MetaQuery.Farm;
using MetaQuery.Imaging;
using MetaQuery.Pipelines;
using MetaQuery.Tokenizers;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.AspNetCore.Routing;
using static MetaQuery.Silo.Web.Routes;

namespace MetaQuery.Silo.Web;

/// <summary><c>POST /v1/chat/completions</c> as OpenAI's: the frozen language model answers, in one piece or streamed.</summary>
internal sealed class ChatEndpoints(IFarm farm, WebOptions options, EventHubs hubs, BodyBudget bodies, TimeProvider time)
{
    private const int DefaultMaxTokens = 512; // as the command line's
    private readonly TenantPlaces _places = new((options.Chat?.Slots ?? 0) + (options.Chat?.MostWaiting ?? 0), options.MaxChatsOfTenant, "queue_full", TimeSpan.FromSeconds(5));
    private static readonly string[] OpenAiNames = ["gpt-", "chatgpt-", "o1", "o3", "o4"];

    public void Map(IEndpointRouteBuilder routes) =>
        routes.Add("POST", "/v1/chat/completions", "chat", "The language model answers a conversation, pictures among it, as OpenAI's.", CompleteAsync)
            .Accepts<ChatRequest>("application/json").Produces<ChatResponse>(200, "application/json", "text/event-stream").Refuses(400, 404, 413, 415, 429, 504);

    private async Task<IResult> CompleteAsync(HttpContext context)
    {
        ChatService service = options.Chat ?? throw NotServed();
        using IDisposable place = _places.Take(Caller.Of(context), "questions are asked"); // before the body is read
        using IDisposable room = bodies.Take(context, options.MaxChatBodyBytes);
        ChatRequest request = await RequestBody.ReadAsync(context, FarmJson.Default.ChatRequest, options.MaxChatBodyBytes, allowUnknown: true, ChatRequestReader.RefuseUnbuilt);
        IReadOnlyList<ChatTurn> turns = ChatRequestReader.Read(request);
        ChatOptions chosen = Options(request);
        if (!IsServed(request.Model))
        {
            throw ImageEndpoints.NoSuchModel(request.Model!, farm.Model);
        }

        bool isStreamed = request.Stream == true, withUsage = request.StreamOptions?.IncludeUsage == true; // the request itself is not kept for as long as the answer takes
        bool hasImages = turns.Any(turn => turn.Images.Any());
        if (hasImages && !service.Model.ReadsImages)
        {
            throw ApiException.Invalid("messages", $"model {farm.Model.ModelName} reads no pictures", "images_not_supported");
        }

        using var stop = CancellationTokenSource.CreateLinkedTokenSource(context.RequestAborted, hubs.Stopping);
        using IDisposable turn = await EnterAsync(service, stop.Token);
        using ChatSession session = await Task.Run(() => service.Model.NewSession(chosen, hasImages), stop.Token); // may load what reads pictures
        var answer = new Answering(session, turns, stop.Token);
        await using (answer)
        {
            string id = "chatcmpl-" + Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(12));
            long created = time.GetUtcNow().ToUnixTimeSeconds();
            if (isStreamed)
            {
                await StreamAsync(context, answer, new ChatChunk(id, "chat.completion.chunk", created, farm.Model.ModelName, [], service.Fingerprint), withUsage, stop.Token);
                return TypedResults.Empty;
            }

            var text = new System.Text.StringBuilder();
            while (await answer.NextAsync() is { } piece)
            {
                text.Append(piece);
            }

            return Answer(
                new ChatResponse(id, "chat.completion", created, farm.Model.ModelName, [new ChatChoice(0, new ChatAnswer("assistant", text.ToString()), answer.FinishReason)], answer.Usage, service.Fingerprint),
                FarmJson.Default.ChatResponse);
        }
    }

    private static ApiException NotServed() => new(
        404, "this server answers no questions: it holds no language model that could (a head over Redis needs --chat-slots 1; --chat-slots 0, a --memory-budget for one half, and a checkpoint without an output head leave none)", code: "chat_not_served");

    private bool IsServed(string? name) =>
        name is null or "" or "auto" || name == farm.Model.ModelName || OpenAiNames.Any(known => name.StartsWith(known, StringComparison.Ordinal));

    private static ChatOptions Options(ChatRequest request)
    {
        IReadOnlyList<string>? stop = request.Stop?.Texts;
        if (stop is not null && (stop.Count > ChatStop.Most || stop.Any(string.IsNullOrEmpty)))
        {
            throw ApiException.Invalid("stop", $"stop must be a text or up to {ChatStop.Most}, none of them empty");
        }

        long seed = request.Seed ?? BitConverter.ToInt64(RandomNumberGenerator.GetBytes(sizeof(long)));
        return new ChatOptions(
            request.Temperature ?? 0, request.TopP ?? 1, unchecked((int)(seed ^ (seed >> 32))), request.MaxCompletionTokens ?? request.MaxTokens ?? DefaultMaxTokens, Stop: stop);
    }

    private async Task<IDisposable> EnterAsync(ChatService service, CancellationToken left)
    {
        using var limit = new CancellationTokenSource(options.RequestTimeout, time);
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(left, limit.Token);
        try
        {
            return await service.EnterAsync(stop.Token)
                ?? throw new ApiException(429, $"{service.MostWaiting} questions wait already", code: "queue_full", retryAfter: TimeSpan.FromSeconds(5));
        }
        catch (OperationCanceledException) when (limit.IsCancellationRequested && !left.IsCancellationRequested)
        {
            throw new ApiException(504, $"the question's turn did not come within {options.RequestTimeout.TotalSeconds:0} seconds; the server is busy", code: "timeout");
        }
    }

    private static async Task StreamAsync(HttpContext context, Answering answer, ChatChunk empty, bool withUsage, CancellationToken stop)
    {
        string? piece = await answer.NextAsync(); // what is refused has a status of its own: nothing is sent before
        context.Response.ContentType = "text/event-stream";
        context.Response.Headers.CacheControl = "no-store";
        context.Response.Headers["X-Accel-Buffering"] = "no"; // nginx would hold pieces back
        context.Features.Get<IHttpResponseBodyFeature>()?.DisableBuffering();
        PipeWriter writer = context.Response.BodyWriter;
        await SendAsync(writer, With(empty, new ChatDelta("assistant", "")), stop);
        for (; piece is not null; piece = await answer.NextAsync())
        {
            await SendAsync(writer, With(empty, new ChatDelta(null, piece)), stop);
        }

        await SendAsync(writer, With(empty, new ChatDelta(null, null), answer.FinishReason), stop);
        if (withUsage)
        {
            await SendAsync(writer, empty with { Usage = answer.Usage }, stop);
        }

        await writer.WriteAsync("data: [DONE]\n\n"u8.ToArray(), stop);
    }

    private static ChatChunk With(ChatChunk chunk, ChatDelta delta, string? finishReason = null) => chunk with { Choices = [new ChatChunkChoice(0, delta, finishReason)] };

    private static async Task SendAsync(PipeWriter writer, ChatChunk chunk, CancellationToken stop)
    {
        writer.Write("data: "u8);
        writer.Write(JsonSerializer.SerializeToUtf8Bytes(chunk, ApiJson.Of(FarmJson.Default.ChatChunk)));
        writer.Write("\n\n"u8);
        await writer.FlushAsync(stop);
    }

    /// <summary>An answer as it arises, on threads that may compute.</summary>
    private sealed class Answering(ChatSession session, IReadOnlyList<ChatTurn> turns, CancellationToken stop) : IAsyncDisposable
    {
        private readonly IEnumerator<string> _pieces = session.Answer(turns, stop).GetEnumerator();

        public string FinishReason => session.End == ChatEnd.Length ? "length" : "stop";

        public ChatUsage Usage => new(session.PromptTokens, session.AnswerTokens, session.PromptTokens + session.AnswerTokens);

        /// <returns>Null at the end.</returns>
        /// <exception cref="ApiException">The conversation cannot be answered.</exception>
        public async Task<string?> NextAsync()
        {
            try
            {
                return await Task.Run(_pieces.MoveNext, CancellationToken.None) ? _pieces.Current : null; // runs to its end: it stops by the token itself
            }
            catch (PipelineException exception)
            {
                throw ApiException.Invalid("messages", exception.Message, session.IsFull ? "context_length_exceeded" : "invalid_value");
            }
            catch (Exception exception) when (exception is ImageFormatException or ChatTemplateException)
            {
                throw ApiException.Invalid("messages", exception.Message, exception is ImageFormatException ? "invalid_image" : "invalid_value");
            }
        }

        public ValueTask DisposeAsync()
        {
            _pieces.Dispose();
            return ValueTask.CompletedTask;
        }
    }
}
