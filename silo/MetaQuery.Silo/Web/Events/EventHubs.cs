using MetaQuery.Farm;

namespace MetaQuery.Silo.Web;

/// <summary>The hubs of all jobs that somebody watches.</summary>
internal sealed class EventHubs(IFarm farm, WebOptions options, TimeProvider time) : IAsyncDisposable
{
    // a client that reconnects finds its events still there
    private static readonly TimeSpan Idle = TimeSpan.FromSeconds(30);

    private readonly Lock _lock = new();
    private readonly Dictionary<string, Running> _hubs = [];
    private readonly CancellationTokenSource _stop = new();

    /// <summary>Of the event streams that are open.</summary>
    public TenantPlaces Places { get; } = new(options.MaxEventStreams, options.MaxEventStreamsOfTenant, "too_many_streams", TimeSpan.FromSeconds(10));

    /// <summary>Fires when the server stops: open streams then end, so that it can.</summary>
    public CancellationToken Stopping => _stop.Token;

    public JobEventHub Join(string job, string? lastEventId)
    {
        lock (_lock)
        {
            if (!_hubs.TryGetValue(job, out Running? running))
            {
                running = new Running(new JobEventHub(lastEventId), CancellationTokenSource.CreateLinkedTokenSource(_stop.Token));
                _hubs.Add(job, running);
                running.Task = RunAsync(job, running);
            }

            running.Hub.Watchers++;
            return running.Hub;
        }
    }

    public void Leave(string job, JobEventHub hub)
    {
        lock (_lock)
        {
            if (--hub.Watchers == 0 && _hubs.TryGetValue(job, out Running? running) && running.Hub == hub)
            {
                _ = StopWhenIdleAsync(job, running);
            }
        }
    }

    /// <summary>Ends every stream.</summary>
    public void Stop() => _stop.Cancel();

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        Task[] running;
        lock (_lock)
        {
            running = [.. _hubs.Values.Select(hub => hub.Task)];
        }

        await Task.WhenAll(running);
        _stop.Dispose();
    }

    private async Task RunAsync(string job, Running running)
    {
        await Task.Yield(); // the caller holds the lock
        try
        {
            await running.Hub.RunAsync(farm, new JobReference(job, Tenant: null), options.EventInterval, time, running.Stop.Token);
        }
        catch (Exception exception) when (exception is OperationCanceledException or FarmException)
        {
            // streams have ended; whoever still wants events reconnects and is told what is wrong
        }
        finally
        {
            lock (_lock)
            {
                _hubs.Remove(job);
            }

            running.Stop.Dispose();
        }
    }

    private async Task StopWhenIdleAsync(string job, Running running)
    {
        await Task.Delay(Idle, time, _stop.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        lock (_lock)
        {
            if (running.Hub.Watchers == 0 && _hubs.TryGetValue(job, out Running? present) && present == running)
            {
                running.Stop.Cancel();
            }
        }
    }

    private sealed class Running(JobEventHub hub, CancellationTokenSource stop)
    {
        public JobEventHub Hub { get; } = hub;
        public CancellationTokenSource Stop { get; } = stop;
        public Task Task { get; set; } = Task.CompletedTask;
    }
}
