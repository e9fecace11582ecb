using MetaQuery.Silo.Tests.Doubles;
using MetaQuery.TestKit;
using Xunit.Abstractions;

namespace MetaQuery.Silo.Tests;

/// <summary>A thousand clients watch one job. The bound on their latency is held by <c>./farm bench farm</c>, which runs alone on its machine.</summary>
public sealed class CrowdTests(ITestOutputHelper output)
{
    private const int Clients = 1000;

    [Fact]
    public async Task A_thousand_clients_get_every_event_of_one_job_at_most_ten_a_second()
    {
        await using FarmTestHost host = await FarmTestHost.StartAsync(TimeSpan.FromMilliseconds(5));
        string id = await host.Http.SubmitAsync("""{"prompts":["x"],"images_per_prompt":100000}""");
        CrowdResult seen = await new EventCrowd(host.Url, id, Clients).WatchAsync(TimeSpan.FromSeconds(3));
        output.WriteLine($"{Clients} clients, {seen}");
        Assert.True(seen.MostPerClient <= (seen.Time.TotalSeconds * 10) + 12, $"{seen.MostPerClient} events in {seen.Time.TotalSeconds:0.0} s"); // a client that was late catches up on a few at once
        Assert.True(seen.LeastPerClient > 0, "a client saw nothing");
    }
}
