namespace MetaQuery.Farm.Tests.Doubles;

/// <summary>A worker process as it is, over toys, at work for a head.</summary>
internal sealed class HiredHost : IAsyncDisposable
{
    private readonly CancellationTokenSource _stop = new();
    private readonly Task _run;

    public HiredHost(ToyFarm farm, ToyModel model, ConditionCache cache, WorkerOptions options)
    {
        Host = new WorkerHost(model, farm.Queue, farm.Registry, cache, options);
        _run = Host.RunAsync(_stop.Token);
    }

    public WorkerHost Host { get; }

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        await _run;
        Host.Dispose();
        _stop.Dispose();
    }
}
