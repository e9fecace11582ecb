using System.Diagnostics;
using System.Globalization;
using System.Net.Http.Headers;
using System.Text;
using System.Text.RegularExpressions;
using MetaQuery.Data;
using MetaQuery.Farm;
using MetaQuery.Redis;
using MetaQuery.Silo;
using MetaQuery.Silo.Hosting;
using MetaQuery.TestKit;

namespace MetaQuery.Benchmarks.Farm;

/// <summary>A job of a million prompts: a head in a process of its own, Redis, and a worker that leases and computes nothing.</summary>
internal sealed partial class MillionPrompts(BenchmarkReport report)
{
    private const int Prompts = 1_000_000;
    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(3);
    private static readonly TimeSpan WorkFor = TimeSpan.FromSeconds(20);

    public async Task MeasureAsync()
    {
        var folder = Directory.CreateTempSubdirectory("metaquery-bench-");
        try
        {
            var file = Path.Combine(folder.FullName, "prompts.txt");
            await File.WriteAllLinesAsync(file, SamplePrompts.Take(Prompts));
            var clock = Stopwatch.StartNew();
            PromptFile.Open(file).Validate(skipInvalid: false);
            report.Add("validationLinesPerSecond", "a million prompts validated", "lines/s", Prompts / clock.Elapsed.TotalSeconds);
            using RealRedis server = RealRedis.With(appendOnly: true);
            using Process head = StartHead(server.Address, Path.Combine(folder.FullName, "data"), out Uri address);
            try
            {
                await MeasureHeadAsync(file, server, head, address, Path.Combine(folder.FullName, "data"));
            }
            finally
            {
                head.Kill(entireProcessTree: true);
                await head.WaitForExitAsync();
            }
        }
        finally
        {
            folder.Delete(recursive: true);
        }
    }

    private async Task MeasureHeadAsync(string file, RealRedis server, Process head, Uri address, string dataFolder)
    {
        ModelDescription model = LocalModel.Describe(Repository.PathOf("models", "nano"));
        await using RedisFarm farm = await RedisFarm.ConnectAsync(new RedisFarmOptions { Redis = RedisOptions.Parse(server.Address), DataFolder = dataFolder }, CancellationToken.None);
        await using RedisWorkQueue queue = await farm.OpenQueueAsync(CancellationToken.None);
        var registry = farm.CreateRegistry();
        var worker = new WorkerInfo("bench", Environment.MachineName, Environment.ProcessId, WorkRoles.Both, 2, "cpu", model.Lane, model.Conditions, model.Images, DateTimeOffset.UtcNow);
        await registry.JoinAsync(worker, CancellationToken.None);
        using var beating = new CancellationTokenSource();
        Task heart = BeatAsync(registry, worker.Id, beating.Token);
        TimeSpan took = await SubmitAsync(file, address);
        report.Add("millionSubmitSeconds", "a million prompts uploaded, checked and taken", "s", took.TotalSeconds);
        var clock = Stopwatch.StartNew();
        IReadOnlyList<Lease> first = await LeaseAsync(queue, worker, Patience);
        if (first.Count == 0)
        {
            throw new BenchmarkException($"no item came within {Patience}");
        }

        report.Add("millionFirstLeaseSeconds", "from the answer to the first lease", "s", clock.Elapsed.TotalSeconds);
        long done = await WorkAsync(queue, worker, first);
        report.Add("millionItemsPerSecond", "items done by a worker that computes nothing", "items/s", done / WorkFor.TotalSeconds);
        report.Add("millionHeadMebibytes", "the head's memory at its highest", "MiB", PeakKibibytes(head) / 1024.0);
        report.Add("millionRedisMebibytes", "Redis' memory then", "MiB", server.UsedMemory() / 1048576.0);
        await beating.CancelAsync();
        await heart;
    }

    private static async Task<long> WorkAsync(RedisWorkQueue queue, WorkerInfo worker, IReadOnlyList<Lease> leases)
    {
        var clock = Stopwatch.StartNew();
        long done = 0;
        while (clock.Elapsed < WorkFor)
        {
            if (leases.Count > 0)
            {
                await queue.ReportAsync(worker.Id, [.. leases.Select(lease => new WorkReport(lease, Outcome(lease.Item)))], CancellationToken.None);
                done += leases.Count;
            }

            leases = await LeaseAsync(queue, worker, TimeSpan.FromMilliseconds(200));
        }

        return done;
    }

    private static WorkOutcome Outcome(WorkItem item) => item is DenoiseItem denoise
        ? new DenoisedOutcome(new FinishedSample(denoise.Position, new byte[2048], "x"u8.ToArray(), "{}"u8.ToArray()))
        : new EncodedOutcome(WasMade: true);

    private static async Task<IReadOnlyList<Lease>> LeaseAsync(RedisWorkQueue queue, WorkerInfo worker, TimeSpan patience)
    {
        var clock = Stopwatch.StartNew();
        do
        {
            foreach (WorkRoles role in new[] { WorkRoles.Dit, WorkRoles.Mllm })
            {
                var request = new LeaseRequest(worker.Id, worker.Lane, role, 64, TimeSpan.FromMilliseconds(5));
                if (await queue.LeaseAsync(request, CancellationToken.None) is { Count: > 0 } leases)
                {
                    return leases;
                }
            }
        }
        while (clock.Elapsed < patience);
        return [];
    }

    private static async Task BeatAsync(IWorkerRegistry registry, string worker, CancellationToken stop)
    {
        var status = new WorkerStatus(WorkerState.Running, [], 0, 0, 0, 0, 0, new ConditionCache(0, disk: null).Counters);
        using var timer = new PeriodicTimer(TimeSpan.FromSeconds(2));
        while (!stop.IsCancellationRequested)
        {
            await registry.HeartbeatAsync(worker, status, CancellationToken.None);
            try
            {
                await timer.WaitForNextTickAsync(stop);
            }
            catch (OperationCanceledException)
            {
                return; // measured
            }
        }
    }

    private static async Task<TimeSpan> SubmitAsync(string file, Uri address)
    {
        using var http = new HttpClient { Timeout = Patience };
        using var form = new MultipartFormDataContent();
        await using FileStream prompts = File.OpenRead(file);
        using var job = new StringContent("{}", Encoding.UTF8, "application/json");
        form.Add(job, "job");
        using var content = new StreamContent(prompts);
        content.Headers.ContentType = new MediaTypeHeaderValue("text/plain");
        form.Add(content, "prompts", "prompts.txt");
        var clock = Stopwatch.StartNew();
        using HttpResponseMessage answer = await http.PostAsync(new Uri(address, "/v1/jobs"), form);
        return answer.IsSuccessStatusCode
            ? clock.Elapsed
            : throw new BenchmarkException($"the head answered {(int)answer.StatusCode}: {await answer.Content.ReadAsStringAsync()}");
    }

    private static Process StartHead(string redis, string data, out Uri address)
    {
        var start = new ProcessStartInfo(Environment.ProcessPath!) { RedirectStandardError = true, RedirectStandardOutput = true };
        foreach (var argument in new[] { Repository.PathOf("artifacts", "bin", "MetaQuery.Cli", "release", "metaquery.dll"), "serve", "--data", data, "--urls", "http://127.0.0.1:0", "--redis", redis, "--model", Repository.PathOf("models", "nano") })
        {
            start.ArgumentList.Add(argument);
        }

        Process head = Process.Start(start)!;
        var said = new StringBuilder();
        using var listening = new ManualResetEventSlim();
        string? url = null;
        void Hear(string? line)
        {
            lock (said)
            {
                said.AppendLine(line);
                if (line is not null && Address().Match(line) is { Success: true } match)
                {
                    url ??= match.Value;
                    listening.Set();
                }
            }
        }

        head.OutputDataReceived += (_, line) => Hear(line.Data);
        head.ErrorDataReceived += (_, line) => Hear(line.Data);
        head.BeginOutputReadLine();
        head.BeginErrorReadLine();
        if (!listening.Wait(Patience))
        {
            head.Kill(entireProcessTree: true);
            throw new BenchmarkException($"the head does not listen: {said}");
        }

        address = new Uri(url!);
        return head;
    }

    private static long PeakKibibytes(Process process)
    {
        var line = File.ReadLines($"/proc/{process.Id}/status").Single(line => line.StartsWith("VmHWM:", StringComparison.Ordinal));
        return long.Parse(line.AsSpan(6, line.Length - 8), NumberStyles.AllowLeadingWhite | NumberStyles.AllowTrailingWhite, CultureInfo.InvariantCulture);
    }

    [GeneratedRegex(@"http://127\.0\.0\.1:\d+")]
    private static partial Regex Address();
}
