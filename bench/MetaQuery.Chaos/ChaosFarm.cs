using System.Globalization;
using MetaQuery.TestKit;

namespace MetaQuery.Chaos;

/// <summary>A farm of real processes: a redis-server with append-only file, a head, two workers; each reaches Redis through a proxy of its own.</summary>
internal sealed class ChaosFarm : IDisposable
{
    private const int WorkerCount = 2;
    private static readonly TimeSpan StopPatience = TimeSpan.FromSeconds(60);

    private readonly CuttingProxy[] _proxies;
    private readonly ChildProcess[] _workers;

    /// <param name="folder">An empty folder of the run's own: logs, prompt files, the disk.</param>
    /// <param name="options">Model and times.</param>
    /// <exception cref="ChaosException">It cannot be set up here.</exception>
    public ChaosFarm(string folder, ChaosOptions options)
    {
        Disk = DataDisk.Create(folder, options.DiskMebibytes, mounts: Environment.IsPrivilegedProcess);
        try
        {
            Redis = RealRedis.With();
        }
        catch (InvalidOperationException exception)
        {
            Disk.Dispose();
            throw new ChaosException(exception.Message, exception);
        }

        View = new RedisView(Redis);
        _proxies = [.. Enumerable.Range(0, WorkerCount + 1).Select(_ => new CuttingProxy(Redis.Port))];
        var address = $"http://127.0.0.1:{RealRedis.FreePort()}";
        Api = new JobApi(address);
        string[] shared = ["--data", Disk.DataFolder, "--model", options.Model, "--lease-seconds", Text(options.Lease.TotalSeconds)];
        Head = new ChildProcess(
            "head", ["serve", "--urls", address, "--redis", Address(0), .. shared], Path.Combine(folder, "head.log"), Disk.Environment);
        _workers =
        [
            .. Enumerable.Range(1, WorkerCount).Select(i => new ChildProcess(
                $"worker {i}", ["worker", "--redis", Address(i), "--roles", "mllm,dit", "--slots", "1", "--threads", "1", .. shared],
                Path.Combine(folder, $"worker-{i}.log"), Disk.Environment)),
        ];

        string Address(int proxy) => $"127.0.0.1:{_proxies[proxy].Port}";
    }

    public DataDisk Disk { get; }

    public RealRedis Redis { get; }

    public RedisView View { get; }

    public JobApi Api { get; }

    public ChildProcess Head { get; }

    public IReadOnlyList<ChildProcess> Workers => _workers;

    public IReadOnlyList<CuttingProxy> Proxies => _proxies;

    /// <summary>The process that a fault hits; null where it is none or all.</summary>
    public ChildProcess? ProcessOf(FaultTarget target) => target switch
    {
        FaultTarget.Head => Head,
        FaultTarget.FirstWorker => _workers[0],
        FaultTarget.SecondWorker => _workers[1],
        _ => null,
    };

    /// <summary>The connections that a fault hits.</summary>
    public IReadOnlyList<CuttingProxy> ProxiesOf(FaultTarget target) => target switch
    {
        FaultTarget.Head => _proxies[..1],
        FaultTarget.FirstWorker => _proxies[1..2],
        FaultTarget.SecondWorker => _proxies[2..3],
        _ => _proxies,
    };

    /// <exception cref="ChaosException">A process ended by itself.</exception>
    public void CheckAlive()
    {
        Head.CheckAlive();
        Array.ForEach(_workers, worker => worker.CheckAlive());
    }

    /// <summary>Ends workers and head as an admin does, by SIGTERM.</summary>
    /// <exception cref="ChaosException">One does not end, or not with success.</exception>
    public void Stop()
    {
        foreach (var process in (ChildProcess[])[.. _workers, Head])
        {
            var code = process.Stop(StopPatience);
            if (code is not (0 or 130 or 143))
            {
                throw new ChaosException($"{process.Name} ended with code {code} after SIGTERM: {process.LastWords()}");
            }
        }
    }

    public void Dispose()
    {
        Array.ForEach(_workers, worker => worker.Dispose());
        Head.Dispose();
        Api.Dispose();
        Array.ForEach(_proxies, proxy => proxy.Dispose());
        Redis.Dispose();
        Disk.Dispose();
    }

    private static string Text(double number) => number.ToString(CultureInfo.InvariantCulture);
}
