using System.Net;
using System.Runtime.CompilerServices;
using System.Text.Json;

namespace MetaQuery.Client;

public sealed partial class FarmClient
{
    private static readonly TimeSpan Silence = TimeSpan.FromSeconds(60); // four of the server's heartbeats
    private static readonly TimeSpan FirstPause = TimeSpan.FromSeconds(0.5);
    private static readonly TimeSpan LongestPause = TimeSpan.FromSeconds(8);

    /// <summary>What happens to a job, from a snapshot on until its end. A broken connection is taken up again after the last event that came.</summary>
    /// <param name="lastEventId">Goes on after this event.</param>
    /// <param name="patience">How long to try again to reach a farm that was there before; null for two minutes.</param>
    public async IAsyncEnumerable<JobEvent> WatchJobAsync(
        string id, string? lastEventId = null, TimeSpan? patience = null, [EnumeratorCancellation] CancellationToken cancellationToken = default)
    {
        bool wasThere = false;
        DateTimeOffset goneSince = default;
        TimeSpan pause = FirstPause;
        while (true)
        {
            IAsyncEnumerator<JobEvent> events = StreamAsync(id, lastEventId, cancellationToken).GetAsyncEnumerator(cancellationToken);
            await using (events.ConfigureAwait(false))
            {
                while (true)
                {
                    JobEvent? happened;
                    try
                    {
                        if (!await events.MoveNextAsync().ConfigureAwait(false))
                        {
                            yield break;
                        }

                        happened = events.Current;
                    }
                    catch (FarmClientException exception) when (exception.IsTransient && wasThere)
                    {
                        goneSince = goneSince == default ? DateTimeOffset.UtcNow : goneSince;
                        if (DateTimeOffset.UtcNow - goneSince > (patience ?? TimeSpan.FromMinutes(2)))
                        {
                            throw;
                        }

                        break;
                    }

                    (wasThere, goneSince, pause, lastEventId) = (true, default, FirstPause, happened.Id);
                    yield return happened;
                    if (JobStates.IsFinal(happened.Data.Job.State))
                    {
                        yield break;
                    }
                }
            }

            await Task.Delay(pause, cancellationToken).ConfigureAwait(false);
            pause = pause * 2 < LongestPause ? pause * 2 : LongestPause;
        }
    }

    // one connection's events; ends only where the server says that there is nothing more to come
    private async IAsyncEnumerable<JobEvent> StreamAsync(string id, string? lastEventId, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        HttpResponseMessage answer = await SendAsync(
            () =>
            {
                var request = new HttpRequestMessage(HttpMethod.Get, JobPath(id, "events"));
                request.Headers.Accept.ParseAdd("text/event-stream");
                if (lastEventId is not null)
                {
                    request.Headers.TryAddWithoutValidation("Last-Event-ID", lastEventId);
                }

                return request;
            },
            HttpCompletionOption.ResponseHeadersRead, Patience, cancellationToken).ConfigureAwait(false);
        using (answer)
        {
            if (answer.StatusCode == HttpStatusCode.NoContent)
            {
                yield break;
            }

            Stream stream = await answer.Content.ReadAsStreamAsync(cancellationToken).ConfigureAwait(false);
            IAsyncEnumerator<ServerSentEvent> events = ServerSentEvents.ReadAsync(stream, Silence, cancellationToken).GetAsyncEnumerator(cancellationToken);
            await using (events.ConfigureAwait(false))
            {
                while (true)
                {
                    JobEvent happened;
                    try
                    {
                        if (!await events.MoveNextAsync().ConfigureAwait(false))
                        {
                            throw new IOException("the stream of events broke off");
                        }

                        (string eventId, string type, string data) = events.Current;
                        happened = new JobEvent(eventId, type, JsonSerializer.Deserialize(data, FarmJson.Default.JobEventData) ?? throw new JsonException("an event is null"));
                    }
                    catch (Exception exception) when (exception is IOException or HttpRequestException or TimeoutException or InvalidDataException)
                    {
                        throw new FarmUnreachableException(Server, exception);
                    }
                    catch (JsonException exception)
                    {
                        throw new FarmClientException($"{Server}: an event is not what a farm says: {exception.Message}", exception);
                    }

                    yield return happened;
                }
            }
        }
    }
}
