using System.Diagnostics;
using System.Net;
using System.Text;
using MetaQuery.Client;
using MetaQuery.Silo.Tests.Doubles;
using MetaQuery.Silo.Web;

namespace MetaQuery.Silo.Tests;

/// <summary>Server-sent events: snapshot, resume, coalescing, heartbeats, end.</summary>
public sealed class EventTests
{
    [Fact]
    public async Task A_stream_begins_with_a_snapshot_names_every_sample_and_ends_with_the_job()
    {
        await using FarmTestHost host = await FarmTestHost.StartAsync(TimeSpan.FromMilliseconds(15));
        string id = await host.Http.SubmitAsync("""{"prompts":["a","b"],"images_per_prompt":20}""");
        HttpResponseMessage answer = await host.Http.GetAsync($"/v1/jobs/{id}/events");
        Assert.Equal("text/event-stream", answer.Content.Headers.ContentType!.MediaType);
        using var client = new FarmClient(host.Url);
        id = await host.Http.SubmitAsync("""{"prompts":["a","b"],"images_per_prompt":20}""");
        var events = new List<JobEvent>();
        await foreach (JobEvent happened in client.WatchJobAsync(id))
        {
            events.Add(happened);
        }

        Assert.Equal("snapshot", events[0].Type);
        Assert.Equal((JobStates.Completed, "state"), (events[^1].Data.Job.State, events[^1].Type));
        AssertNoneIsMissing(40, events.SelectMany(happened => happened.Data.Samples));
        Assert.Equal(events.Count, events.Select(happened => happened.Id).Distinct().Count());
    }

    [Fact]
    public async Task At_most_ten_events_a_second_come_however_many_happen()
    {
        await using FarmTestHost host = await FarmTestHost.StartAsync(TimeSpan.FromMilliseconds(1));
        string id = await host.Http.SubmitAsync("""{"prompts":["a"],"images_per_prompt":1000}""");
        using var client = new FarmClient(host.Url);
        var watch = Stopwatch.StartNew();
        var samples = new HashSet<long>();
        int events = 0;
        await foreach (JobEvent happened in client.WatchJobAsync(id))
        {
            events++;
            samples.UnionWith(happened.Data.Samples);
        }

        Assert.InRange(events, 2, (watch.Elapsed.TotalSeconds * 10) + 3); // the first, the last, and one in each tenth of a second
        Assert.True(samples.Count > 1000 - 256, $"{samples.Count} samples were named");
    }

    [Fact]
    public async Task A_client_that_comes_back_goes_on_after_its_last_event()
    {
        await using FarmTestHost host = await FarmTestHost.StartAsync(TimeSpan.FromMilliseconds(30), new WebOptions { EventInterval = TimeSpan.FromMilliseconds(10) });
        string id = await host.Http.SubmitAsync("""{"prompts":["a"],"images_per_prompt":60}""");
        using var client = new FarmClient(host.Url);
        var seen = new List<long>();
        string? last = null;
        bool hasEnded = false;
        while (!hasEnded)
        {
            int events = 0;
            await foreach (JobEvent happened in client.WatchJobAsync(id, last))
            {
                Assert.True(events > 0 || last is null || happened.Type != "snapshot", "a client that came back at once got a snapshot");
                seen.AddRange(happened.Data.Samples);
                last = happened.Id;
                hasEnded = JobStates.IsFinal(happened.Data.Job.State);
                if (++events == 7)
                {
                    break; // the connection is cut here
                }
            }
        }

        AssertNoneIsMissing(60, seen);
    }

    [Fact]
    public async Task An_unknown_event_gives_a_snapshot_and_the_last_one_of_an_ended_job_nothing_more()
    {
        await using FarmTestHost host = await FarmTestHost.StartAsync();
        string id = await host.Http.SubmitAsync();
        await host.EndAsync(id);
        string text = await (await host.Http.GetAsync($"/v1/jobs/{id}/events", ("Last-Event-ID", "of another server"))).Content.ReadAsStringAsync();
        Assert.Contains("event: snapshot\n", text, StringComparison.Ordinal);
        string last = text.Split('\n').Last(line => line.StartsWith("id: ", StringComparison.Ordinal))[4..];
        Assert.Equal(HttpStatusCode.NoContent, (await host.Http.GetAsync($"/v1/jobs/{id}/events", ("Last-Event-ID", last))).StatusCode);
        Assert.Equal("Last-Event-ID", (await (await host.Http.GetAsync($"/v1/jobs/{id}/events", ("Last-Event-ID", new string('x', 201)))).ErrorAsync(HttpStatusCode.BadRequest)).Param);
        await (await host.Http.GetAsync("/v1/jobs/nope/events")).ErrorAsync(HttpStatusCode.NotFound);
    }

    [Fact]
    public async Task A_job_that_is_tried_again_is_watched_again()
    {
        await using FarmTestHost host = await FarmTestHost.StartAsync();
        string id = await host.Http.SubmitAsync("""{"prompts":["fail"]}""");
        using var client = new FarmClient(host.Url);
        string? last = null;
        await foreach (JobEvent happened in client.WatchJobAsync(id))
        {
            last = happened.Id;
        }

        await client.RetryFailedAsync(id);
        Assert.Equal(JobStates.Completed, (await host.EndAsync(id)).State);
        var states = new List<string>();
        await foreach (JobEvent happened in client.WatchJobAsync(id, last))
        {
            states.Add(happened.Data.Job.State);
        }

        Assert.Equal(JobStates.Completed, states[^1]);
    }

    [Fact]
    public async Task A_quiet_stream_is_kept_open_by_comments()
    {
        await using FarmTestHost host = await FarmTestHost.StartAsync(TimeSpan.FromMinutes(10), new WebOptions { Heartbeat = TimeSpan.FromMilliseconds(50) });
        string id = await host.Http.SubmitAsync();
        using HttpResponseMessage answer = await host.Http.GetAsync($"/v1/jobs/{id}/events", HttpCompletionOption.ResponseHeadersRead);
        using var reader = new StreamReader(await answer.Content.ReadAsStreamAsync(), Encoding.UTF8);
        int comments = 0;
        while (comments < 3)
        {
            comments += (await reader.ReadLineAsync())!.StartsWith(": ", StringComparison.Ordinal) ? 1 : 0;
        }
    }

    [Fact]
    public async Task Streams_end_when_the_job_is_deleted_or_the_server_stops()
    {
        FarmTestHost host = await FarmTestHost.StartAsync(TimeSpan.FromMinutes(10));
        string id = await host.Http.SubmitAsync();
        using HttpResponseMessage answer = await host.Http.GetAsync($"/v1/jobs/{id}/events", HttpCompletionOption.ResponseHeadersRead);
        Task<string> reading = answer.Content.ReadAsStringAsync();
        var watch = Stopwatch.StartNew();
        await host.DisposeAsync();
        await reading.ContinueWith(_ => { }, TaskScheduler.Default);
        Assert.True(watch.Elapsed < TimeSpan.FromSeconds(9), $"the server took {watch.Elapsed} to stop under an open stream");
    }

    [Fact]
    public async Task More_streams_than_allowed_are_a_429()
    {
        await using FarmTestHost host = await FarmTestHost.StartAsync(TimeSpan.FromMinutes(10), new WebOptions { MaxEventStreams = 1 });
        string id = await host.Http.SubmitAsync();
        using HttpResponseMessage first = await host.Http.GetAsync($"/v1/jobs/{id}/events", HttpCompletionOption.ResponseHeadersRead);
        Assert.Equal(HttpStatusCode.OK, first.StatusCode);
        Assert.Equal("too_many_streams", (await (await host.Http.GetAsync($"/v1/jobs/{id}/events")).ErrorAsync(HttpStatusCode.TooManyRequests)).Code);
    }

    // a snapshot names the latest samples only; from there on each is named once
    private static void AssertNoneIsMissing(int images, IEnumerable<long> seen)
    {
        long[] positions = [.. seen];
        Assert.Equal(Enumerable.Range((int)positions[0], images - (int)positions[0]).Select(position => (long)position), positions);
    }
}
