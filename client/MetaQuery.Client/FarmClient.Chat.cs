using System.Net.Http.Json;
using System.Runtime.CompilerServices;
using System.Text.Json;

namespace MetaQuery.Client;

public sealed partial class FarmClient
{
    /// <summary>Asks the farm's language model, and waits for the whole answer.</summary>
    public Task<ChatResponse> ChatAsync(ChatRequest request, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(request);
        return SendAsync(() => Post(request with { Stream = false, StreamOptions = null }), FarmJson.Default.ChatResponse, Timeout.InfiniteTimeSpan, cancellationToken);
    }

    /// <summary>Asks the farm's language model, and gives the answer's pieces as they come.</summary>
    /// <exception cref="FarmApiException">Thrown by the enumeration: the farm refuses, or an error ended the answer.</exception>
    /// <exception cref="FarmUnreachableException">Thrown by the enumeration: the connection broke before the answer's end.</exception>
    public async IAsyncEnumerable<ChatChunk> StreamChatAsync(ChatRequest request, [EnumeratorCancellation] CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(request);
        HttpResponseMessage answer = await SendAsync(() => Post(request with { Stream = true }), HttpCompletionOption.ResponseHeadersRead, Timeout.InfiniteTimeSpan, cancellationToken).ConfigureAwait(false);
        using (answer)
        {
            Stream stream = await answer.Content.ReadAsStreamAsync(cancellationToken).ConfigureAwait(false);
            IAsyncEnumerator<ServerSentEvent> events = ServerSentEvents.ReadAsync(stream, Timeout.InfiniteTimeSpan, cancellationToken).GetAsyncEnumerator(cancellationToken);
            await using (events.ConfigureAwait(false))
            {
                while (true)
                {
                    string data;
                    try
                    {
                        data = await events.MoveNextAsync().ConfigureAwait(false) ? events.Current.Data : throw new IOException("the answer broke off");
                    }
                    catch (Exception exception) when (exception is IOException or HttpRequestException or InvalidDataException)
                    {
                        throw new FarmUnreachableException(Server, exception);
                    }

                    if (data == "[DONE]")
                    {
                        yield break;
                    }

                    yield return Parse(answer, data);
                }
            }
        }
    }

    private static HttpRequestMessage Post(ChatRequest request) =>
        new(HttpMethod.Post, "v1/chat/completions") { Content = JsonContent.Create(request, FarmJson.Default.ChatRequest) };

    private ChatChunk Parse(HttpResponseMessage answer, string data)
    {
        try
        {
            using JsonDocument document = JsonDocument.Parse(data);
            return document.RootElement.TryGetProperty("error", out _)
                ? throw new FarmApiException((int)answer.StatusCode, document.RootElement.Deserialize(FarmJson.Default.ErrorResponse)!.Error, null, null)
                : document.RootElement.Deserialize(FarmJson.Default.ChatChunk) ?? throw new JsonException("a piece is null");
        }
        catch (Exception exception) when (exception is JsonException or InvalidOperationException)
        {
            throw new FarmClientException($"{Server}: a piece of an answer is not what a farm says: {exception.Message}", exception);
        }
    }
}
