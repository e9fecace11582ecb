using MetaQuery.Farm;

namespace MetaQuery.Orleans;

/// <summary>One slot at work: waits for a head's data folder, opens the queue, and runs the farm's own worker loop until it is drained.</summary>
internal sealed class DeviceSlot
{
    private static readonly TimeSpan LookEvery = TimeSpan.FromMilliseconds(200);
    private static readonly TimeSpan GoodFor = TimeSpan.FromMilliseconds(100);

    private readonly SlotSettings _settings;
    private readonly IFarmBackbone _backbone;
    private readonly ConditionCache _cache;
    private readonly SharedProcess _process;
    private readonly CancellationTokenSource _drain = new(); // lives as long as the silo
    private WorkerHost? _host;
    private Look? _latest;

    public DeviceSlot(SlotSettings settings, IFarmBackbone backbone, ConditionCache cache, SharedProcess process)
    {
        (_settings, _backbone, _cache, _process) = (settings, backbone, cache, process);
        Ended = Task.Run(RunAsync);
    }

    /// <summary>Ends with the slot; faulted where it cannot go on.</summary>
    public Task Ended { get; }

    public bool HasEnded => Ended.IsCompleted;

    /// <summary>Whether it was asked to end, here or as a worker.</summary>
    public bool IsDraining => _drain.IsCancellationRequested || Volatile.Read(ref _host) is { Status.State: not WorkerState.Running };

    public void Drain() => _drain.Cancel();

    public SiloSlotView Describe(int index)
    {
        if (Volatile.Read(ref _host) is not { } host)
        {
            return new SiloSlotView(index, HasEnded || _drain.IsCancellationRequested ? "drained" : "waiting", null, "idle", 0, 0, 0, 0, 0);
        }

        WorkerStatus status = StatusOf(host);
        SlotStatus slot = status.Slots.Count > 0 ? status.Slots[0] : new SlotStatus("idle", 0, [], host.Info.StartedAt);
        string state = HasEnded ? "drained" : status.State switch
        {
            WorkerState.Running when !_drain.IsCancellationRequested => "running",
            WorkerState.Drained => "drained",
            _ => "draining",
        };
        return new SiloSlotView(index, state, host.Info.Id, slot.Activity, slot.Rows, status.BusyShare, status.ImagesPerSecond, status.ImagesMade, status.ConditionsMade);
    }

    /// <summary>At most ten looks a second, whoever asks: the worker keeps each for half a minute, to tell its rates from.</summary>
    private WorkerStatus StatusOf(WorkerHost host)
    {
        if (Volatile.Read(ref _latest) is { } latest && TimeProvider.System.GetElapsedTime(latest.At) < GoodFor)
        {
            return latest.Status;
        }

        WorkerStatus status = host.Status;
        Volatile.Write(ref _latest, new Look(status, TimeProvider.System.GetTimestamp()));
        return status;
    }

    private async Task RunAsync()
    {
        try
        {
            while (!File.Exists(Path.Combine(_settings.DataFolder, "lock"))) // samples go through the head's own folder
            {
                await Task.Delay(LookEvery, _drain.Token);
            }

            IWorkQueue queue = await _backbone.OpenQueueAsync(_drain.Token);
            try
            {
                await WorkAsync(queue);
            }
            finally
            {
                if (queue is IAsyncDisposable own)
                {
                    await own.DisposeAsync();
                }
            }
        }
        catch (OperationCanceledException) when (_drain.IsCancellationRequested)
        {
            // drained before it took work
        }
    }

    private async Task WorkAsync(IWorkQueue queue)
    {
        using var host = new WorkerHost(_settings.Model!, queue, _backbone.Registry, _cache, new WorkerOptions
        {
            Roles = _settings.Roles,
            Slots = 1,
            Device = _settings.Device,
            LeaseTime = _backbone.LeaseTime,
            Process = _process,
            Pictures = new PictureFolder(DataFolder.PicturesOf(_settings.DataFolder)),
            Log = _settings.Log,
        });
        Volatile.Write(ref _host, host);
        using CancellationTokenRegistration draining = _drain.Token.Register(host.Drain);
        await host.RunAsync(CancellationToken.None);
    }

    private sealed record Look(WorkerStatus Status, long At);
}
