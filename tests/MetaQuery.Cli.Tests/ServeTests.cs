using System.Net;
using System.Net.Sockets;
using System.Runtime.CompilerServices;
using System.Text.Json;
using MetaQuery.Client;
using MetaQuery.Farm;

namespace MetaQuery.Cli.Tests;

/// <summary><c>serve</c> and the commands that speak to it, on the real Nano model in processes of their own.</summary>
public class ServeTests
{
    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(10); // a picture costs a second of a core, and the cores may be shared with a whole suite
    private static readonly string[] Fast = ["--steps", "2", "--batch-size", "4", "--images-per-prompt", "2", "--shard-size", "6"];

    [Fact]
    public async Task A_server_killed_in_the_middle_of_a_job_goes_on_and_gives_the_bytes_of_an_embedded_run()
    {
        using var folder = new TemporaryFolder();
        var prompts = folder.Write("prompts.txt", string.Concat(Enumerable.Range(0, 8).Select(i => $"a red apple number {i}\n")));
        CliProcess.Run(["job", "run", prompts, "--out", folder["whole"], .. Fast]).Succeeded();

        using var http = new HttpClient();
        var url = FreeAddress();
        await using var collector = await Collector.StartAsync();
        using var victim = await StartAsync(http, url, folder["data"], Telemetry(collector.HttpUrl, "http/protobuf"));
        await UntilAsync(() => Task.FromResult(collector.Has("/v1/metrics", "metaquery.images.written") && collector.Has("/v1/traces", "/readyz")));
        var id = Ask(url, ["job", "submit", prompts, .. Fast]).Succeeded().Output.Trim();
        await UntilAsync(async () => Written(await http.GetStringAsync($"{url}/v1/jobs/{id}")) > 0);
        victim.Kill();
        Assert.Contains("cannot be reached", Ask(url, "job", "show", id).OneLineError(7), StringComparison.Ordinal);

        using var second = await StartAsync(http, url, folder["data"], Telemetry(collector.GrpcUrl, protocol: null)); // gRPC unless told
        Assert.Equal("", Ask(url, "job", "watch", id).Succeeded().Error.Split('\n').FirstOrDefault(line => line.StartsWith("farm:", StringComparison.Ordinal)) ?? "");
        Assert.Contains($"{id}  prompts.txt  local   completed  16/16", Ask(url, "job", "list", "--state", "completed").Succeeded().Output, StringComparison.Ordinal);
        Assert.Contains("16 written, 0 failed", Ask(url, "job", "show", id).Succeeded().Output, StringComparison.Ordinal);
        Assert.Contains("mllm+dit  cpu", Ask(url, "worker", "list").Succeeded().Output, StringComparison.Ordinal);
        Assert.Contains("there is no worker nobody; ./farm worker list shows", Ask(url, "worker", "drain", "nobody").OneLineError(2), StringComparison.Ordinal);
        Assert.Contains("no limit", Ask(url, "tenant", "show", "local").Succeeded().Output, StringComparison.Ordinal);
        Assert.Contains("this farm is no cluster", Ask(url, "tenant", "set", "local", "--weight", "2").OneLineError(2), StringComparison.Ordinal);
        Assert.Contains("to pause is not possible", Ask(url, "job", "pause", id).OneLineError(2), StringComparison.Ordinal);
        Ask(url, "job", "download", id, "--out", folder["out"]).Succeeded();
        foreach (var file in Directory.EnumerateFiles(folder["whole"]).Where(path => path.EndsWith(".tar", StringComparison.Ordinal) || path.EndsWith("manifest.jsonl", StringComparison.Ordinal)))
        {
            Assert.True(File.ReadAllBytes(file).AsSpan().SequenceEqual(File.ReadAllBytes(Path.Combine(folder["out"], Path.GetFileName(file)))), $"{Path.GetFileName(file)} differs");
        }

        var endless = Ask(url, "job", "submit", prompts, "--images-per-prompt", "10000", "--steps", "50").Succeeded().Output.Trim();
        Assert.Contains($"{endless}: cancelled", Ask(url, "job", "cancel", endless).Succeeded().Output, StringComparison.Ordinal);
        Assert.Equal(ExitCodes.JobCancelled, Ask(url, "job", "watch", endless).ExitCode);

        Assert.Contains("in use by another head", CliProcess.Run("serve", "--data", folder["data"], "--urls", "http://127.0.0.1:0").OneLineError(3), StringComparison.Ordinal);
        await UntilAsync(() => Task.FromResult(
            collector.Has("/opentelemetry.proto.collector.metrics.v1.MetricsService/Export", "metaquery.images.written")
            && collector.Has("/opentelemetry.proto.collector.trace.v1.TraceService/Export", "/v1/jobs")));
        second.CtrlC();
        var ended = second.Wait().Succeeded();
        Assert.All(ended.ErrorLines.Where(line => line.StartsWith('{')), line => JsonDocument.Parse(line)); // logs off a terminal
        Assert.Contains(ended.ErrorLines, line => line.Contains("/pause: 409 for tenant local", StringComparison.Ordinal));
        Assert.StartsWith($"listening on {url}: model nano", Assert.Single(ended.Output.Split('\n', StringSplitOptions.RemoveEmptyEntries)), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("./farm keys add --tenant", "serve", "--urls", "http://0.0.0.0:8080")]
    [InlineData("must be an address such as", "serve", "--urls", "8080")]
    [InlineData("--server nowhere: must be an address", "job", "list", "--server", "nowhere")]
    [InlineData("there is no such prompt file", "job", "submit", "nosuch.txt")]
    [InlineData("there is no key key_1", "keys", "revoke", "key_1")]
    [InlineData("--data nosuch: there is no such folder", "keys", "list", "--data", "nosuch")]
    [InlineData("--data nosuch: there is no such folder", "keys", "revoke", "key_1", "--data", "nosuch")]
    [InlineData("--data /etc/passwd is a file; name a folder", "keys", "list", "--data", "/etc/passwd")]
    [InlineData("cannot be a name", "keys", "add", "--tenant", "a b")]
    [InlineData("worker: --redis HOST:PORT is missing", "worker")]
#if ORLEANS
    [InlineData("without --redis this is the only silo, and needs the role head", "silo", "--roles", "dit")]
#endif
    public void A_wrong_command_line_of_the_farm_is_one_line_and_exit_code_2(string expected, params string[] arguments)
    {
        using var folder = new TemporaryFolder();
        Directory.CreateDirectory(folder["data"]);
        string[] all = arguments[0] is "serve" or "keys" && !arguments.Contains("--data") ? [.. arguments, "--data", folder["data"]] : arguments;
        Assert.Contains(expected, CliProcess.Run(all).OneLineError(2), StringComparison.Ordinal);
    }

    [Fact]
    public void A_farm_that_is_not_there_is_exit_code_7() =>
        Assert.Contains("cannot be reached", CliProcess.Run("job", "list", "--server", "http://127.0.0.1:1").OneLineError(7), StringComparison.Ordinal);

    [Fact]
    public void Keys_are_shown_once_listed_by_id_and_revoked()
    {
        using var folder = new TemporaryFolder();
        var key = CliProcess.Run("keys", "add", "--tenant", "vision", "--weight", "2.5", "--data", folder["data"]).Succeeded().Output.Trim();
        Assert.StartsWith("mq_", key, StringComparison.Ordinal);
        Assert.DoesNotContain(key, File.ReadAllText(Path.Combine(folder["data"], "keys.json")), StringComparison.Ordinal);
        var listed = CliProcess.Run("keys", "list", "--data", folder["data"]).Succeeded().Output.Split('\n')[1];
        Assert.Contains("vision", listed, StringComparison.Ordinal);
        Assert.Contains("2.5", listed, StringComparison.Ordinal);
        CliProcess.Run("keys", "revoke", listed.Split(' ')[0], "--data", folder["data"]).Succeeded();
        Assert.Contains("revoked already", CliProcess.Run("keys", "revoke", listed.Split(' ')[0], "--data", folder["data"]).OneLineError(2), StringComparison.Ordinal);
    }

    private static CliResult Ask(string url, params string[] arguments) => CliProcess.Run(arguments, environment: new Dictionary<string, string> { ["METAQUERY_SERVER"] = url });

    private static async Task<CliProcess> StartAsync(HttpClient http, string url, string data, IReadOnlyDictionary<string, string>? environment = null)
    {
        var server = CliProcess.Start(["serve", "--data", data, "--urls", url, "--model", "nano"], environment ?? new Dictionary<string, string>());
        await UntilAsync(async () =>
        {
            Assert.False(server.HasExited, "the server ended before it served");
            try
            {
                return (await http.GetAsync($"{url}/readyz")).StatusCode == HttpStatusCode.OK;
            }
            catch (HttpRequestException)
            {
                return false; // not listening yet
            }
        });
        return server;
    }

    private static async Task UntilAsync(Func<Task<bool>> condition, [CallerArgumentExpression(nameof(condition))] string what = "")
    {
        var start = TimeProvider.System.GetTimestamp();
        while (!await condition())
        {
            Assert.True(TimeProvider.System.GetElapsedTime(start) < Patience, $"what was waited for has not come: {what}");
            await Task.Delay(20);
        }
    }

    private static long Written(string job) => JsonDocument.Parse(job).RootElement.GetProperty("counts").GetProperty("written").GetInt64();

    private static Dictionary<string, string> Telemetry(string url, string? protocol)
    {
        var variables = new Dictionary<string, string>
        {
            ["OTEL_EXPORTER_OTLP_ENDPOINT"] = url,
            ["OTEL_METRIC_EXPORT_INTERVAL"] = "300",
            ["OTEL_BSP_SCHEDULE_DELAY"] = "300",
        };
        if (protocol is not null)
        {
            variables["OTEL_EXPORTER_OTLP_PROTOCOL"] = protocol;
        }

        return variables;
    }

    private static string FreeAddress()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        return $"http://127.0.0.1:{((IPEndPoint)listener.LocalEndpoint).Port}";
    }
}
