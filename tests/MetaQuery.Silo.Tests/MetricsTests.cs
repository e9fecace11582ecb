using System.Globalization;
using System.Text.RegularExpressions;
using MetaQuery.Silo.Tests.Doubles;

namespace MetaQuery.Silo.Tests;

/// <summary>/metrics in Prometheus' text format.</summary>
public sealed partial class MetricsTests
{
    [Fact]
    public async Task Every_line_is_one_that_Prometheus_reads_and_every_family_is_typed_once()
    {
        await using FarmTestHost host = await FarmTestHost.StartAsync();
        await host.EndAsync(await host.Http.SubmitAsync("""{"prompts":["a","fail"]}"""));
        HttpResponseMessage answer = await host.Http.GetAsync("/metrics");
        Assert.Equal("text/plain; version=0.0.4; charset=utf-8", answer.Content.Headers.ContentType!.ToString());
        string[] lines = (await answer.Content.ReadAsStringAsync()).Split('\n', StringSplitOptions.RemoveEmptyEntries);
        Assert.All(lines, line => Assert.Matches(Line(), line));
        string[] types = [.. lines.Where(line => line.StartsWith("# TYPE ", StringComparison.Ordinal)).Select(line => line.Split(' ')[2])];
        Assert.Equal(types.Length, types.Distinct().Count());
        string[] series = [.. lines.Where(line => line[0] != '#').Select(line => line[..line.LastIndexOf(' ')])];
        Assert.Equal(series.Length, series.Distinct().Count());
    }

    [Fact]
    public async Task The_farms_counters_are_there_under_their_documented_names()
    {
        await using FarmTestHost host = await FarmTestHost.StartAsync();
        await host.EndAsync(await host.Http.SubmitAsync("""{"prompts":["a","b","fail"]}"""));
        Dictionary<string, double> values = await ReadAsync(host);
        Assert.Equal((2, 1), (values["metaquery_images_written_total"], values["metaquery_images_failed_total"]));
        Assert.Equal(1, values["metaquery_jobs{state=\"completed_with_errors\"}"]);
        Assert.Equal(0, values["metaquery_jobs{state=\"running\"}"]);
        Assert.Equal(60, values["metaquery_cache_lookups_total{result=\"memory\"}"]);
        Assert.Equal(2, values["metaquery_workers{state=\"running\"}"]);
        Assert.Equal(0.25, values["metaquery_queue_lag_seconds"]);
        Assert.Equal(2, values["metaquery_queue_items{lane=\"1f0c5d2ab3e49876\",state=\"waiting_denoise\"}"]);
        Assert.Equal(1, values["metaquery_ready"]);
        string documented = await File.ReadAllTextAsync(Path.Combine(TestKit.RepositoryFolders.Root, "docs", "api.md"));
        Assert.All(
            values.Keys.Where(name => name.StartsWith("metaquery_", StringComparison.Ordinal)).Select(name => name.Split('{')[0]).Distinct(),
            name => Assert.Contains($"`{name}", documented, StringComparison.Ordinal));
    }

    [Fact]
    public async Task Histograms_of_requests_add_up()
    {
        await using FarmTestHost host = await FarmTestHost.StartAsync();
        for (int i = 0; i < 5; i++)
        {
            await host.Http.GetAsync("/healthz");
        }

        const string Family = "http_server_request_duration_seconds";
        Dictionary<string, double> values = [];
        await Eventually.Async(async () => // a request is counted after its answer has gone out
        {
            values = await ReadAsync(host);
            return values.Any(value => value.Key.StartsWith(Family + "_count", StringComparison.Ordinal) && value.Key.Contains("/healthz", StringComparison.Ordinal) && value.Value == 5);
        });
        double[] buckets = [.. values.Where(value => value.Key.StartsWith(Family + "_bucket", StringComparison.Ordinal) && value.Key.Contains("/healthz", StringComparison.Ordinal)).Select(value => value.Value)];
        Assert.Equal(buckets.Order(), buckets);
        Assert.Equal(5, buckets[^1]);
    }

    private static async Task<Dictionary<string, double>> ReadAsync(FarmTestHost host) => (await host.Http.GetStringAsync("/metrics"))
        .Split('\n', StringSplitOptions.RemoveEmptyEntries).Where(line => line[0] != '#')
        .ToDictionary(line => line[..line.LastIndexOf(' ')].Replace("{}", "", StringComparison.Ordinal), line => double.Parse(line[(line.LastIndexOf(' ') + 1)..].Replace("+Inf", "Infinity", StringComparison.Ordinal), CultureInfo.InvariantCulture));

    [GeneratedRegex("""^(# (HELP [a-z_:][a-z0-9_:]* .*|TYPE [a-z_:][a-z0-9_:]* (counter|gauge|histogram))|[a-z_:][a-z0-9_:]*(\{([a-z_][a-z0-9_]*="([^"\\]|\\.)*",?)*\})? (NaN|[+-]?Inf|[-+0-9.eE]+))$""", RegexOptions.IgnoreCase)]
    private static partial Regex Line();
}
