using System.Globalization;
using MetaQuery.TestKit;

namespace MetaQuery.Chaos;

/// <summary>A farm of real processes: a redis-server with append-only file, and a head with two workers, or silos that have all roles; each reaches Redis through a proxy of its own.</summary>
internal sealed class ChaosFarm : IDisposable
{
    private const int WorkerCount = 2;
    private static readonly TimeSpan StopPatience = TimeSpan.FromSeconds(60);

    // what a silo ends with where its supervisor is to start it again: the others declared it dead, Redis was away as it joined, another head took over
    private static readonly int[] RestartCodes = [3, 7];

    private readonly Stack<IDisposable> _parts = new(); // what there is, so that a farm that was set up in part goes away whole
    private readonly CuttingProxy[] _proxies;
    private readonly ChildProcess[] _processes; // in the order of the proxies
    private readonly bool _hasSilos;
    private int _head;

    /// <param name="folder">An empty folder of the run's own: logs, prompt files, the disk.</param>
    /// <param name="options">Model and times.</param>
    /// <exception cref="ChaosException">It cannot be set up here.</exception>
    public ChaosFarm(string folder, ChaosOptions options)
    {
        try
        {
            Disk = Keep(DataDisk.Create(folder, options.DiskMebibytes, mounts: Environment.IsPrivilegedProcess));
            Redis = Keep(RealRedis.With());
            View = new RedisView(Redis);
            _hasSilos = options.Silos > 0;
            _proxies = [.. Enumerable.Range(0, _hasSilos ? options.Silos : WorkerCount + 1).Select(_ => Keep(new CuttingProxy(Redis.Port)))];
            string[] addresses = [.. Enumerable.Range(0, _hasSilos ? options.Silos : 1).Select(_ => $"http://127.0.0.1:{RealRedis.FreePort()}")];
            Api = Keep(new JobApi(addresses));
            string[] shared = ["--data", Disk.DataFolder, "--model", options.Model, "--lease-seconds", Text(options.Lease.TotalSeconds)];
            string[] slots = ["--slots", "1", "--threads", "1"];
            _processes = _hasSilos
                ? [
                    .. Enumerable.Range(0, options.Silos).Select(i => Keep(new ChildProcess(
                        $"silo {i + 1}",
                        [
                            "silo", "--clustering", "redis", "--redis", Address(i), "--roles", "head,mllm,dit", "--urls", addresses[i],
                            "--silo-port", Text(RealRedis.FreePort()), "--gateway-port", Text(RealRedis.FreePort()), .. slots, .. shared,
                        ],
                        Path.Combine(folder, $"silo-{i + 1}.log"), Disk.Environment))),
                ]
                : [
                    Keep(new ChildProcess("head", ["serve", "--urls", addresses[0], "--redis", Address(0), .. shared], Path.Combine(folder, "head.log"), Disk.Environment)),
                    .. Enumerable.Range(1, WorkerCount).Select(i => Keep(new ChildProcess(
                        $"worker {i}", ["worker", "--redis", Address(i), "--roles", "mllm,dit", .. slots, .. shared], Path.Combine(folder, $"worker-{i}.log"), Disk.Environment))),
                ];
        }
        catch (InvalidOperationException exception)
        {
            Dispose();
            throw new ChaosException(exception.Message, exception);
        }
        catch
        {
            Dispose();
            throw;
        }

        T Keep<T>(T part)
            where T : IDisposable
        {
            _parts.Push(part);
            return part;
        }

        string Address(int proxy) => $"127.0.0.1:{_proxies[proxy].Port}";
    }

    public DataDisk Disk { get; }

    public RealRedis Redis { get; }

    public RedisView View { get; }

    public JobApi Api { get; }

    /// <summary>The process that holds the head; of silos the one that did when <see cref="FindHeadAsync"/> last looked.</summary>
    public ChildProcess Head => _processes[_head];

    /// <summary>The processes that hold items.</summary>
    public IReadOnlyList<ChildProcess> Workers => _hasSilos ? _processes : _processes[1..];

    /// <summary>Silos that were started again since they had ended as they should: the others held them for dead, or took the head over.</summary>
    public int Restarted { get; private set; }

    /// <summary>Looks where the head is now, among silos.</summary>
    public async Task FindHeadAsync()
    {
        if (_hasSilos && await Api.TryFindHeadProcessAsync() is { } process && Array.FindIndex(_processes, silo => silo.Id == process) is >= 0 and var index)
        {
            _head = index;
        }
    }

    /// <summary>The process that a fault hits; null where it is none or all.</summary>
    public ChildProcess? ProcessOf(FaultTarget target) => IndexOf(target) is { } index ? _processes[index] : null;

    /// <summary>The connections that a fault hits.</summary>
    public IReadOnlyList<CuttingProxy> ProxiesOf(FaultTarget target) => IndexOf(target) is { } index ? [_proxies[index]] : _proxies;

    /// <summary>Starts silos again that ended as a supervisor expects of them.</summary>
    /// <exception cref="ChaosException">A process ended by itself otherwise.</exception>
    public void CheckAlive()
    {
        foreach (var process in _processes)
        {
            if (_hasSilos && process.ExitCode is { } code && RestartCodes.Contains(code))
            {
                process.Restart();
                Restarted++;
            }

            process.CheckAlive();
        }
    }

    /// <summary>Ends workers and head, or all silos, as an admin does, by SIGTERM.</summary>
    /// <exception cref="ChaosException">One does not end, or not with success.</exception>
    public async Task StopAsync(CancellationToken stop)
    {
        foreach (var process in _processes.Where(process => process != Head).Append(Head))
        {
            var code = await process.StopAsync(StopPatience, stop);
            if (code is not (0 or 130 or 143))
            {
                throw new ChaosException($"{process.Name} ended with code {code} after SIGTERM: {process.LastWords()}");
            }
        }
    }

    /// <summary>Kills every process, then takes the disk away; each part, also where another would not go.</summary>
    /// <exception cref="AggregateException">Parts that would not go.</exception>
    public void Dispose()
    {
        var errors = new List<Exception>();
        while (_parts.TryPop(out var part)) // last made, first gone: the disk is in use until its processes are dead
        {
            try
            {
                part.Dispose();
            }
            catch (Exception exception)
            {
                errors.Add(exception);
            }
        }

        if (errors.Count > 0)
        {
            throw new AggregateException(errors);
        }
    }

    private int? IndexOf(FaultTarget target)
    {
        int[] others = [.. Enumerable.Range(0, _processes.Length).Where(index => index != _head)];
        return target switch
        {
            FaultTarget.Head => _head,
            FaultTarget.FirstWorker => others[0],
            FaultTarget.SecondWorker => others[^1],
            _ => null,
        };
    }

    private static string Text(double number) => number.ToString(CultureInfo.InvariantCulture);
}
