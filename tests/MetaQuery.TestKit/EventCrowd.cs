using System.Diagnostics;
using System.Text;

namespace MetaQuery.TestKit;

/// <summary>Many clients watch one job's event stream.</summary>
/// <param name="Server">Where the API is.</param>
/// <param name="JobId">What they watch.</param>
/// <param name="Clients">How many.</param>
public sealed record EventCrowd(Uri Server, string JobId, int Clients)
{
    /// <summary>Connects all, then counts for a while.</summary>
    /// <exception cref="TimeoutException">Some client saw no event within a minute.</exception>
    public async Task<CrowdResult> WatchAsync(TimeSpan time)
    {
        using var http = new HttpClient(new SocketsHttpHandler { MaxConnectionsPerServer = Clients + 10 }) { BaseAddress = Server };
        using var stop = new CancellationTokenSource();
        var arrivals = new List<(string Id, long At)>[Clients];
        using var ready = new CountdownEvent(Clients);
        Task[] watching = [.. Enumerable.Range(0, Clients).Select(client => FollowAsync(http, arrivals[client] = [], ready, stop.Token))];
        if (!await Task.Run(() => ready.Wait(TimeSpan.FromMinutes(1))))
        {
            throw new TimeoutException($"{ready.CurrentCount} of {Clients} clients have seen nothing yet");
        }

        long begin = Stopwatch.GetTimestamp();
        await Task.Delay(time);
        long end = Stopwatch.GetTimestamp();
        await stop.CancelAsync();
        await Task.WhenAll(watching);

        // an event's first arrival anywhere is the latest moment at which the server can have had it
        var first = new Dictionary<string, long>(StringComparer.Ordinal);
        foreach ((string eventId, long at) in arrivals.SelectMany(list => list))
        {
            first[eventId] = Math.Min(first.GetValueOrDefault(eventId, long.MaxValue), at);
        }

        double[] late = [.. arrivals.SelectMany(list => list).Where(seen => first[seen.Id] >= begin && first[seen.Id] < end).Select(seen => Stopwatch.GetElapsedTime(first[seen.Id], seen.At).TotalMilliseconds).Order()];
        int[] perClient = [.. arrivals.Select(list => list.Count(seen => seen.At >= begin && seen.At < end))];
        return new CrowdResult(
            Stopwatch.GetElapsedTime(begin, end), late.Length, perClient.Min(), perClient.Max(),
            late.Length == 0 ? 0 : late[late.Length / 2], late.Length == 0 ? 0 : late[(int)(late.Length * 0.99)]);
    }

    private async Task FollowAsync(HttpClient http, List<(string Id, long At)> arrivals, CountdownEvent ready, CancellationToken stop)
    {
        try
        {
            using HttpResponseMessage answer = await http.GetAsync($"/v1/jobs/{JobId}/events", HttpCompletionOption.ResponseHeadersRead, stop);
            using var reader = new StreamReader(await answer.Content.ReadAsStreamAsync(stop), Encoding.UTF8);
            while (await reader.ReadLineAsync(stop) is { } line)
            {
                if (line.StartsWith("id: ", StringComparison.Ordinal))
                {
                    arrivals.Add((line[4..], Stopwatch.GetTimestamp()));
                    if (arrivals.Count == 1)
                    {
                        ready.Signal();
                    }
                }
            }
        }
        catch (OperationCanceledException)
        {
            // the measurement is over
        }
    }
}

/// <param name="Time">How long was counted.</param>
/// <param name="Events">Seen by all clients together.</param>
/// <param name="LeastPerClient">Events of the client that saw the fewest.</param>
/// <param name="MostPerClient">Events of the client that saw the most.</param>
/// <param name="MedianMilliseconds">Behind the first client that saw the same event.</param>
/// <param name="P99Milliseconds">The same at the 99th percentile.</param>
public sealed record CrowdResult(TimeSpan Time, int Events, int LeastPerClient, int MostPerClient, double MedianMilliseconds, double P99Milliseconds);
