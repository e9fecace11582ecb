using System.Diagnostics;

namespace MetaQuery.Chaos;

/// <summary>One run: a fresh farm under the faults of a seed, jobs enough to keep it busy, and at the end every byte compared.</summary>
internal sealed class ChaosRun(int number, ChaosOptions options, IReadOnlyList<JobCase> cases, ChaosLog log, ChaosFarm farm, CancellationToken stop)
{
    private const int FewImagesLeft = 20;
    private static readonly TimeSpan Look = TimeSpan.FromMilliseconds(30);

    private readonly List<(string Id, JobCase Case)> _jobs = [];
    private readonly Dictionary<string, JobStatus> _status = [];

    /// <summary>Jobs that were run under faults.</summary>
    public IReadOnlyList<(string Id, JobCase Case)> Jobs => _jobs;

    public long Images => _status.Values.Sum(job => job.Written);

    /// <summary>Items that the head took back from workers it held for dead.</summary>
    public long Reclaimed { get; private set; }

    /// <summary>Reports of late workers that the fence refused.</summary>
    public long Refused { get; private set; }

    /// <summary>Injects all faults, waits for the jobs' ends, and stops the farm.</summary>
    /// <returns>What is wrong at the end, one line each.</returns>
    /// <exception cref="ChaosException">The farm stands still, or one of its processes has ended by itself.</exception>
    /// <exception cref="OperationCanceledException">It was stopped, perhaps in the middle of a fault.</exception>
    public async Task<IReadOnlyList<string>> ExecuteAsync()
    {
        await KeepBusyAsync();
        foreach (var fault in FaultPlan.Create(options.Seed, options.Faults, options.Kinds))
        {
            await InjectAsync(fault);
        }

        await UntilAsync(() => _jobs.TrueForAll(job => _status.TryGetValue(job.Id, out var status) && status.IsFinal), "the end of all jobs");
        List<string> wrong =
        [
            .. _jobs.Where(job => _status[job.Id].State != "completed")
                .Select(job => $"{job.Id} ({job.Case.Name}) ended {_status[job.Id].State}: {_status[job.Id].Reason}"),
            .. await WaitForNoOrphansAsync(),
        ];
        await CountAsync();
        await farm.StopAsync(stop);
        return [.. wrong, .. OutputCheck.FindLeftovers(farm.Disk.DataFolder).Select(path => $"{path} is left")];
    }

    private async Task InjectAsync(PlannedFault fault)
    {
        await farm.FindHeadAsync();
        var from = Images + fault.AfterImages;
        var process = fault.Kind is FaultKind.KillWorker or FaultKind.Pause or FaultKind.DropConnections ? farm.ProcessOf(fault.Target) : null;
        long inFlight = 0;
        await UntilAsync(
            async () =>
            {
                await KeepBusyAsync();
                return Images >= from && (inFlight = farm.View.CountInFlight(process == farm.Head ? null : process?.Id)) > 0; // looked at anew: a silo that was held for dead may just be started again
            },
            $"a task in flight for fault {fault.Number}");
        var (at, written, clock) = (DateTimeOffset.UtcNow, Images, Stopwatch.StartNew());
        await DoAsync(fault);
        var lasted = clock.Elapsed;
        clock.Restart();
        await RefreshUntilReachedAsync(fault);
        var before = Images;
        await UntilAsync(() => Images > before || _jobs.TrueForAll(job => _status[job.Id].IsFinal), $"the next image after fault {fault.Number}, {FaultPlan.NameOf(fault.Kind)} of {fault.Target}");
        log.Add(new LoggedFault(
            at, number, options.Seed, fault.Number, FaultPlan.NameOf(fault.Kind), fault.Target.ToString(), fault.IsSilent, inFlight, written,
            Math.Round(lasted.TotalSeconds, 2), Math.Round(clock.Elapsed.TotalSeconds, 2)));
    }

    private async Task DoAsync(PlannedFault fault)
    {
        switch (fault.Kind)
        {
            case FaultKind.KillHead:
                await CountAsync(); // its counters die with it
                farm.Head.KillAndRestart();
                break;
            case FaultKind.KillWorker:
                farm.ProcessOf(fault.Target)!.KillAndRestart();
                break;
            case FaultKind.KillRedis:
                farm.Redis.Kill();
                await Task.Delay(options.OfDisk(fault.Share) / 2, stop);
                farm.Redis.Start();
                break;
            case FaultKind.Pause when fault.Target == FaultTarget.Redis:
                farm.Redis.Pause();
                await Task.Delay(options.BeyondLease(fault.Share), stop);
                farm.Redis.Resume();
                break;
            case FaultKind.Pause:
                farm.ProcessOf(fault.Target)!.Pause();
                await Task.Delay(options.OfPause(fault.Share), stop);
                farm.ProcessOf(fault.Target)!.Continue();
                break;
            case FaultKind.FullDisk:
                farm.Disk.Fill();
                await Task.Delay(options.OfDisk(fault.Share), stop);
                farm.Disk.Free();
                break;
            case FaultKind.SlowDisk:
                farm.Disk.SlowDown(TimeSpan.FromMilliseconds(20 + (200 * fault.Share)));
                await Task.Delay(options.OfDisk(1 - fault.Share), stop);
                farm.Disk.SpeedUp();
                break;
            case FaultKind.DropConnections when fault.IsSilent:
                foreach (var proxy in farm.ProxiesOf(fault.Target))
                {
                    proxy.BeSilent();
                }

                await Task.Delay(options.BeyondLease(fault.Share), stop);
                foreach (var proxy in farm.ProxiesOf(fault.Target))
                {
                    proxy.Speak();
                }

                break;
            default:
                foreach (var proxy in farm.ProxiesOf(fault.Target))
                {
                    proxy.Cut();
                }

                break;
        }
    }

    private async Task CountAsync()
    {
        Reclaimed += (long)(await farm.Api.TryReadMetricAsync("metaquery_items_reclaimed_total") ?? 0);
        Refused += (long)(await farm.Api.TryReadMetricAsync("metaquery_reports_refused_total") ?? 0);
    }

    /// <summary>A job is always there whose images are not all handed out.</summary>
    private async Task KeepBusyAsync()
    {
        while (_jobs.Sum(job => _status.TryGetValue(job.Id, out var status) ? status.IsFinal ? 0 : status.Images - status.Written : job.Case.Images) < FewImagesLeft)
        {
            var next = cases[_jobs.Count % cases.Count];
            string? id = null;
            var name = $"run-{number}-job-{_jobs.Count + 1}";
            await UntilAsync(async () => (id = await farm.Api.TrySubmitAsync(next, name)) is not null, "the head to take a job");
            _jobs.Add((id!, next));
        }
    }

    /// <summary>The state as the head tells it after a fault: what it told before may be older than the last commits.</summary>
    private Task RefreshUntilReachedAsync(PlannedFault fault)
    {
        return UntilAsync(
            async () =>
            {
                var reached = true;
                foreach (var (id, _) in _jobs.Where(job => !_status.TryGetValue(job.Id, out var status) || !status.IsFinal).ToList())
                {
                    reached &= await farm.Api.TryGetAsync(id) is { } status && (_status[id] = status) is not null;
                }

                return reached;
            },
            $"the head's answer after fault {fault.Number}");
    }

    private async Task<IReadOnlyList<string>> WaitForNoOrphansAsync()
    {
        IReadOnlyList<string> orphans = [];
        var clock = Stopwatch.StartNew();
        do
        {
            await Task.Delay(Look, stop);
            farm.CheckAlive();
            orphans = [.. farm.View.FindOrphans([.. farm.Workers.Select(worker => worker.Id)]), .. OutputCheck.FindLeftovers(farm.Disk.DataFolder)];
        }
        while (orphans.Count > 0 && clock.Elapsed < options.Tidying);
        return orphans;
    }

    private Task UntilAsync(Func<bool> condition, string what) => UntilAsync(() => Task.FromResult(condition()), what);

    private async Task UntilAsync(Func<Task<bool>> condition, string what)
    {
        var clock = Stopwatch.StartNew();
        while (true)
        {
            foreach (var (id, _) in _jobs)
            {
                if ((!_status.TryGetValue(id, out var known) || !known.IsFinal) && await farm.Api.TryGetAsync(id) is { } status)
                {
                    _status[id] = status;
                }
            }

            if (await condition())
            {
                return;
            }

            stop.ThrowIfCancellationRequested(); // before its processes are missed: Ctrl-C reaches them too
            farm.CheckAlive();
            if (clock.Elapsed > options.Patience)
            {
                throw new ChaosException(
                    $"waited {options.Patience.TotalSeconds:0} s for {what}; jobs: {string.Join(", ", _jobs.Select(job => _status.TryGetValue(job.Id, out var status) ? $"{status.State} {status.Written}/{status.Images} {status.Reason}" : "unknown"))}; head: {farm.Head.LastWords()}");
            }

            await Task.Delay(Look, stop);
        }
    }
}
