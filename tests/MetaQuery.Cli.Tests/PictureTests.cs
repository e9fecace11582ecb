using System.Net;
using System.Net.Sockets;
using MetaQuery.TestKit;

namespace MetaQuery.Cli.Tests;

/// <summary>Jobs about pictures by command, with a whole Qwen2.5-VL and Sana model of a few megabytes, in processes of their own.</summary>
public sealed class PictureTests
{
    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(3);

    [Fact]
    public async Task A_prompt_file_with_pictures_gives_the_same_bytes_by_job_run_and_by_a_server()
    {
        using var tiny = TinyMetaQuery.Sana();
        using var folder = new TemporaryFolder();
        var prompts = Prompts(folder);
        using var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified); // a file that is there and cannot be read, whoever asks
        socket.Bind(new UnixDomainSocketEndPoint(folder["socket.png"]));
        using (var large = File.Create(folder["large.png"]))
        {
            large.SetLength((32 << 20) + 1);
        }

        File.AppendAllLines(prompts, ["""{"prompt":"y","images":["socket.png"]}""", """{"prompt":"z","images":["large.png"]}"""]);
        string[] settings = ["--batch-size", "4", "-n", "2", "--seed", "5", "--shard-size", "5"];
        string[] job = ["job", "run", prompts, "--model", tiny.Folder, "--dtype", "float32", "--out", folder["out"], .. settings];

        var plan = CliProcess.Run([.. job, "--dry-run"]).Succeeded();
        Assert.Contains("with pictures:  6 prompts, 3 of them cannot be made", plan.Output, StringComparison.Ordinal);
        Assert.Contains("cannot be made: line 4: gone.png: there is no such file", plan.Error, StringComparison.Ordinal);
        Assert.Contains("line 6: socket.png: cannot be read", plan.Error, StringComparison.Ordinal);
        Assert.Contains("line 7: large.png has more than 33554432 bytes", plan.Error, StringComparison.Ordinal);
        Assert.False(Directory.Exists(folder["out"]));

        var run = CliProcess.Run(job);
        Assert.True(run.ExitCode == 6, run.Error);
        Assert.Contains("gone.png: there is no such file", run.Error, StringComparison.Ordinal);
        Assert.Contains("8 images in", run.Output, StringComparison.Ordinal);
        Assert.Contains(": none made now", CliProcess.Run(job).Output, StringComparison.Ordinal);

        var url = FreeAddress();
        using var server = CliProcess.Start("serve", "--data", folder["data"], "--urls", url, "--model", tiny.Folder, "--dtype", "float32");
        await UntilReadyAsync(server, url);
        var environment = new Dictionary<string, string> { ["METAQUERY_SERVER"] = url };
        var id = CliProcess.Run(["job", "submit", prompts, .. settings], environment: environment).Succeeded().Output.Trim();
        Assert.Equal(6, CliProcess.Run(["job", "watch", id], environment: environment).ExitCode);
        Assert.Contains("large.png has more than 33554432 bytes", CliProcess.Run(["job", "show", id], environment: environment).Succeeded().Output, StringComparison.Ordinal);
        CliProcess.Run(["job", "download", id, "--out", folder["downloaded"]], environment: environment).Succeeded();
        Assert.Equal(3, Tars(folder["out"]).Count);
        Assert.Equal(Tars(folder["out"]), Tars(folder["downloaded"]));
    }

    [Fact]
    public async Task A_farm_over_Redis_with_a_worker_for_each_half_gives_the_bytes_of_job_run()
    {
        using var redis = new RealRedis();
        using var folder = new TemporaryFolder();
        var model = folder["llava"];
        CliProcess.Run("models", "random", model, "--family", "tiny-llava", "--dtype", "float32").Succeeded();
        var prompts = Prompts(folder);
        string[] settings = ["--batch-size", "4", "-n", "2", "--seed", "5", "--steps", "2"];
        Assert.Equal(6, CliProcess.Run(["job", "run", prompts, "--model", model, "--dtype", "float32", "--out", folder["out"], .. settings]).ExitCode);

        var url = FreeAddress();
        string[] farm = ["--redis", redis.Address, "--data", folder["data"], "--model", model, "--dtype", "float32"];
        using var head = CliProcess.Start(["serve", "--urls", url, .. farm]);
        using var text = CliProcess.Start(["worker", "--roles", "mllm", "--slots", "1", .. farm]);
        using var image = CliProcess.Start(["worker", "--roles", "dit", "--slots", "1", .. farm]);
        await UntilReadyAsync(head, url);
        var environment = new Dictionary<string, string> { ["METAQUERY_SERVER"] = url };
        var id = CliProcess.Run(["job", "submit", prompts, .. settings], environment: environment).Succeeded().Output.Trim();
        Assert.Equal(6, CliProcess.Run(["job", "watch", id], environment: environment).ExitCode);
        Assert.Equal(Tars(folder["out"]), Tars(folder[$"data/jobs/{id}/out"]));
        Assert.Single(Tars(folder["out"]));
    }

    private static List<KeyValuePair<string, string>> Tars(string folder) =>
        [.. TemporaryFolder.Digests(folder).Where(file => file.Key.EndsWith(".tar", StringComparison.Ordinal))];

    [Fact]
    public void Generate_takes_pictures_and_Nano_says_that_it_reads_none()
    {
        using var tiny = TinyMetaQuery.StableDiffusion();
        using var folder = new TemporaryFolder();
        Prompts(folder);
        string[] common = ["generate", "", "--image", folder["a.png"], "--out", folder["out"]];
        var made = CliProcess.Run([.. common, "--image", folder["b.jpg"], "--model", tiny.Folder, "--dtype", "float32", "-n", "2", "--image-guidance", "2"]).Succeeded();
        Assert.Equal(2, made.Output.Split('\n').Count(line => line.EndsWith(".png", StringComparison.Ordinal) && !line.StartsWith("contact", StringComparison.Ordinal)));
        var refused = CliProcess.Run([.. common, "--steps", "1"]);
        Assert.NotEqual(0, refused.ExitCode);
        Assert.Contains("the prompt has pictures, and the model reads none", refused.Error, StringComparison.Ordinal);
        Assert.Contains("nowhere.png: there is no such file", CliProcess.Run("generate", "x", "--image", "nowhere.png").OneLineError(2), StringComparison.Ordinal);
        Assert.Contains("the prompt is empty", CliProcess.Run("generate", "").OneLineError(2), StringComparison.Ordinal);
    }

    private static string Prompts(TemporaryFolder folder)
    {
        File.Copy(TinyMetaQuery.Picture("00_rgb_61x43.png"), folder["a.png"]);
        File.Copy(TinyMetaQuery.Picture("06_jpegexif_48x30.jpg"), folder["b.jpg"]);
        return folder.Write(
            "prompts.jsonl",
            """
            {"prompt":"make it red","images":["a.png"]}
            {"images":["./b.jpg"]}
            {"prompt":"both","images":["b.jpg","a.png"],"image_guidance_scale":2}
            {"prompt":"x","images":["gone.png"]}
            {"prompt":"a dog"}

            """);
    }

    private static async Task UntilReadyAsync(CliProcess server, string url)
    {
        using var http = new HttpClient();
        var start = TimeProvider.System.GetTimestamp();
        while (true)
        {
            Assert.False(server.HasExited, "the server ended before it served");
            Assert.True(TimeProvider.System.GetElapsedTime(start) < Patience, "the server was never ready");
            try
            {
                if ((await http.GetAsync($"{url}/readyz")).StatusCode == HttpStatusCode.OK)
                {
                    return;
                }
            }
            catch (HttpRequestException)
            {
                // not listening yet
            }

            await Task.Delay(20);
        }
    }

    private static string FreeAddress()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        return $"http://127.0.0.1:{((IPEndPoint)listener.LocalEndpoint).Port}";
    }
}
