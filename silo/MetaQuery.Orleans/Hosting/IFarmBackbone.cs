using MetaQuery.Farm;
using MetaQuery.Silo.Hosting;
using MetaQuery.Redis;
using Microsoft.Extensions.Logging;

namespace MetaQuery.Orleans;

/// <summary>What head and slots meet through: queue, registry, conditions. Redis between silos; memory in one.</summary>
public interface IFarmBackbone : IAsyncDisposable
{
    IWorkerRegistry Registry { get; }

    /// <summary>How long a worker may be silent.</summary>
    TimeSpan LeaseTime { get; }

    /// <summary>The queue as a head sees it; takes it over from a head before.</summary>
    /// <param name="folder">Held by the head.</param>
    /// <exception cref="FarmException">It cannot be reached, or refuses.</exception>
    Task<IWorkFeed> OpenFeedAsync(DataFolder folder, CancellationToken cancellationToken);

    /// <summary>The queue as a slot sees it; waits until it is there.</summary>
    Task<IWorkQueue> OpenQueueAsync(CancellationToken cancellationToken);

    /// <summary>Waits some seconds, before the head lets go, for reports that would be lost with this process.</summary>
    Task SettleAsync(string lane);

    /// <summary>Where the queues that are opened from now on say what they could not read.</summary>
    void LogTo(ILogger log)
    {
    }

    /// <summary>One for all slots of a process.</summary>
    ConditionCache CreateCache(long memoryBytes);
}

/// <summary>Over Redis: the same keys and the same classes as <c>serve --redis</c> and <c>worker</c>.</summary>
public sealed class RedisBackbone(RedisFarm farm) : IFarmBackbone
{
    public IWorkerRegistry Registry { get; } = farm.CreateRegistry();

    public TimeSpan LeaseTime => farm.Options.LeaseTime;

    public async Task<IWorkFeed> OpenFeedAsync(DataFolder folder, CancellationToken cancellationToken)
    {
        await RedisFolderClaim.ClaimAsync(farm.Connection, folder);
        return await RedisWorkFeed.OpenAsync(farm.Connection, farm.Queue);
    }

    public async Task<IWorkQueue> OpenQueueAsync(CancellationToken cancellationToken) => await farm.OpenQueueAsync(cancellationToken);

    public Task SettleAsync(string lane) => Task.CompletedTask; // the next head receives them

    public void LogTo(ILogger log) => farm.Log = log;

    public ConditionCache CreateCache(long memoryBytes) => farm.CreateCache(memoryBytes);

    public ValueTask DisposeAsync() => farm.DisposeAsync();
}

/// <summary>In one process: as <c>serve</c> without Redis. What was leased lies in the data folder, so that a restart counts its holders' deaths.</summary>
public sealed class MemoryBackbone(string conditionsFolder, long conditionDiskBytes) : IFarmBackbone
{
    private static readonly TimeSpan QueueLeaseTime = TimeSpan.FromDays(1); // holders die only with this process

    private readonly TaskCompletionSource<MemoryWorkQueue> _queue = new(TaskCreationOptions.RunContinuationsAsynchronously);

    public TimeSpan LeaseTime { get; } = TimeSpan.FromSeconds(30);

    public IWorkerRegistry Registry { get; } = new MemoryWorkerRegistry(TimeSpan.FromSeconds(30));

    public Task<IWorkFeed> OpenFeedAsync(DataFolder folder, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(folder);
        if (!_queue.Task.IsCompleted)
        {
            _queue.SetResult(new MemoryWorkQueue(QueueLeaseTime, journalPath: folder.LeasesPath));
        }

        return Task.FromResult<IWorkFeed>(_queue.Task.Result);
    }

    public async Task<IWorkQueue> OpenQueueAsync(CancellationToken cancellationToken) => await _queue.Task.WaitAsync(cancellationToken);

    public async Task SettleAsync(string lane)
    {
        if (!_queue.Task.IsCompletedSuccessfully)
        {
            return;
        }

        // what was finished last shall be on disk, not made again; a disk that takes nothing must not hold the end up
        for (int i = 0; i < 250 && (await _queue.Task.Result.DepthAsync(lane, CancellationToken.None)).UnconfirmedReports > 0; i++)
        {
            await Task.Delay(TimeSpan.FromMilliseconds(20));
        }
    }

    public ConditionCache CreateCache(long memoryBytes) => new(memoryBytes, new DiskConditionTier(conditionsFolder, conditionDiskBytes));

    public ValueTask DisposeAsync()
    {
        if (_queue.Task.IsCompletedSuccessfully)
        {
            _queue.Task.Result.Dispose();
        }

        return ValueTask.CompletedTask;
    }
}
