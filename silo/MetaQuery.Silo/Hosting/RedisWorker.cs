using MetaQuery.Farm;
using MetaQuery.Redis;
using Microsoft.Extensions.Logging;

namespace MetaQuery.Silo.Hosting;

/// <summary>How <c>./farm worker</c> runs.</summary>
public sealed record RedisWorkerOptions
{
    public required RedisFarmOptions Farm { get; init; }

    /// <summary>A model folder, such as models/nano.</summary>
    public required string ModelFolder { get; init; }

    /// <summary>float32, bfloat16, or null for the faster here.</summary>
    public string? Dtype { get; init; }

    public WorkRoles Roles { get; init; } = WorkRoles.Both;

    public int Slots { get; init; } = 1;

    /// <summary>Threads of each slot.</summary>
    public int Threads { get; init; } = 1;

    /// <summary><c>cpu</c> or <c>cuda:0</c>.</summary>
    public string Device { get; init; } = LocalModel.Cpu;

    /// <summary>What the process may take; null for no limit. Where it does not hold both halves, they take turns.</summary>
    public long? MemoryBudgetBytes { get; init; }

    /// <summary>Conditions held in this process' memory.</summary>
    public long CacheMemoryBytes { get; init; } = 512L << 20;
}

/// <summary>A worker process of a farm over Redis.</summary>
public static class RedisWorker
{
    private static readonly TimeSpan HeadPatience = TimeSpan.FromSeconds(30);
    private static readonly TimeSpan LookEvery = TimeSpan.FromMilliseconds(200);

    /// <summary>Works until it is drained: by the farm, or by <paramref name="drain"/>.</summary>
    /// <param name="options">How to work.</param>
    /// <param name="joined">Told once the worker takes work.</param>
    /// <param name="logging">Where logs go; null for nowhere.</param>
    /// <param name="drain">Finishes what has begun, gives back the rest and leaves.</param>
    /// <returns>What it did.</returns>
    /// <exception cref="FarmException">It cannot begin, or cannot go on: one line.</exception>
    /// <exception cref="Models.Checkpoints.CheckpointException">The model folder is not usable.</exception>
    public static async Task<WorkerCounters> RunAsync(RedisWorkerOptions options, Action<WorkerInfo> joined, Action<ILoggingBuilder>? logging, CancellationToken drain)
    {
        ArgumentNullException.ThrowIfNull(options);
        ArgumentNullException.ThrowIfNull(joined);
        using ILoggerFactory logs = HeadServing.LogsOf(logging);
        RedisFarm farm = await RedisFarm.ConnectAsync(options.Farm, drain); // before seconds are spent on the model
        await using (farm)
        {
            farm.Log = logs.CreateLogger<RedisFarm>();
            await FindHeadAsync(options.Farm.DataFolder, drain);
            using LocalModel model = LocalModel.Load(
                options.ModelFolder, options.Dtype, options.Threads, options.Roles, options.Device, options.MemoryBudgetBytes, options.CacheMemoryBytes);
            await using RedisWorkQueue queue = await farm.OpenQueueAsync(drain);
            using var host = new WorkerHost(model, queue, farm.CreateRegistry(), farm.CreateCache(options.CacheMemoryBytes), new WorkerOptions
            {
                Roles = options.Roles,
                Slots = options.Slots,
                Device = options.Device,
                LeaseTime = options.Farm.LeaseTime,
                Pictures = new PictureFolder(DataFolder.PicturesOf(options.Farm.DataFolder)),
                Log = logs.CreateLogger<WorkerHost>(),
            });
            using CancellationTokenRegistration draining = drain.Register(host.Drain);
            joined(host.Info);
            await host.RunAsync(CancellationToken.None);
            return host.Counters;
        }
    }

    /// <summary>Samples go through the head's own folder: one that no head ever held is the wrong one, or not mounted.</summary>
    private static async Task FindHeadAsync(string folder, CancellationToken cancellationToken)
    {
        long start = TimeProvider.System.GetTimestamp();
        while (!File.Exists(Path.Combine(folder, "lock")))
        {
            if (TimeProvider.System.GetElapsedTime(start) > HeadPatience)
            {
                throw new JobSpecException($"{folder}: no head has held this data folder; start one (serve --redis), and name the folder that it uses");
            }

            await Task.Delay(LookEvery, cancellationToken);
        }
    }
}
