using System.Globalization;
using System.Runtime.InteropServices;
using MetaQuery.Chaos;
using MetaQuery.Orleans;
using MetaQuery.Redis;
using MetaQuery.TestKit;

namespace MetaQuery.Benchmarks.Cluster;

/// <summary>Three silos with all roles and one slot each, as processes of their own over a redis-server with appendonly; each is started again as a supervisor would.</summary>
internal sealed class SiloTrio : IDisposable
{
    private const int Count = 3;
    private static readonly int[] RestartCodes = [3, 7]; // held for dead by the others, or replaced
    private static readonly TimeSpan Look = TimeSpan.FromMilliseconds(100);
    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(4);

    private readonly PosixSignalRegistration[] _signals;
    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("metaquery-silos-");

    public SiloTrio()
    {
        string[] addresses = [.. Enumerable.Range(0, Count).Select(_ => $"http://127.0.0.1:{RealRedis.FreePort()}")];
        Api = new JobApi(addresses);
        View = new RedisView(Redis);
        Silos =
        [
            .. addresses.Select((address, i) => new ChildProcess(
                $"silo {i + 1}",
                [
                    "silo", "--clustering", "redis", "--redis", Redis.Address, "--roles", "head,mllm,dit", "--slots", "1", "--threads", "1", "--urls", address, "--model", "nano",
                    "--data", Data, "--silo-port", Text(RealRedis.FreePort()), "--gateway-port", Text(RealRedis.FreePort()),
                ],
                Path.Combine(_folder.FullName, $"silo-{i + 1}.log"), new Dictionary<string, string>())),
        ];
        _signals = [.. new[] { PosixSignal.SIGINT, PosixSignal.SIGTERM }.Select(signal => PosixSignalRegistration.Create(signal, _ => Dispose()))]; // this process ends then, and would leave them
    }

    public RealRedis Redis { get; } = RealRedis.With();

    public RedisView View { get; }

    public JobApi Api { get; }

    public IReadOnlyList<ChildProcess> Silos { get; }

    public string Data => Path.Combine(_folder.FullName, "data");

    public Task<ClusterConnection> ConnectAsync() => ClusterConnection.OpenAsync(RedisOptions.Parse(Redis.Address), CancellationToken.None);

    /// <summary>Waits until so many silos say that they are there.</summary>
    public Task WhenActiveAsync(int silos) => UntilAsync(async () => await Api.TryCountSilosAsync() >= silos, $"{silos} active silos");

    /// <summary>A job of prompts that all differ.</summary>
    /// <returns>Its id.</returns>
    public async Task<string> SubmitAsync(int prompts, int imagesPerPrompt, int steps)
    {
        string name = Guid.NewGuid().ToString("n");
        string file = Path.Combine(_folder.FullName, $"{name}.txt");
        await File.WriteAllLinesAsync(file, Enumerable.Range(0, prompts).Select(i => $"plate {i} with an apple"));
        var job = new JobCase("bench", file, prompts, imagesPerPrompt, steps, Guidance: 1, Seed: 7, SamplesPerShard: 500, "png", BatchSize: 8, "bulk");
        string? id = null;
        await UntilAsync(async () => (id = await Api.TrySubmitAsync(job, name)) is not null, "a silo to take the job");
        return id!;
    }

    public async Task<JobStatus> UntilAsync(string job, Func<JobStatus, bool> isGood, string what)
    {
        JobStatus? seen = null;
        await UntilAsync(async () => (seen = await Api.TryGetAsync(job) ?? seen) is not null && isGood(seen), what);
        return seen!;
    }

    /// <exception cref="BenchmarkException">It did not come true in time, or a silo ended by itself.</exception>
    public async Task UntilAsync(Func<Task<bool>> condition, string what)
    {
        long start = TimeProvider.System.GetTimestamp();
        while (!await condition())
        {
            foreach (ChildProcess silo in Silos)
            {
                if (silo.ExitCode is { } code && RestartCodes.Contains(code))
                {
                    silo.Restart();
                }
                else if (silo.ExitCode is { } other && !silo.WasAsked)
                {
                    throw new BenchmarkException($"{silo.Name} ended by itself with code {other}: {silo.LastWords()}");
                }
            }

            if (TimeProvider.System.GetElapsedTime(start) > Patience)
            {
                throw new BenchmarkException($"waited {Patience.TotalSeconds:0} s for {what}; the silos' last words: {string.Join(" || ", Silos.Select(silo => silo.LastWords()))}");
            }

            await Task.Delay(Look);
        }
    }

    public void Dispose()
    {
        Array.ForEach(_signals, signal => signal.Dispose());
        foreach (ChildProcess silo in Silos)
        {
            silo.Dispose();
        }

        Api.Dispose();
        Redis.Dispose();
        _folder.Delete(recursive: true);
    }

    private static string Text(int number) => number.ToString(CultureInfo.InvariantCulture);
}
