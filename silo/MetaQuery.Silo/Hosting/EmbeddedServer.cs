using MetaQuery.Farm;
using MetaQuery.Silo.Web;
using Microsoft.Extensions.Logging;

namespace MetaQuery.Silo.Hosting;

/// <summary><c>./farm serve</c> without Redis: web API, page, head and workers in one process. Everything is back after a kill -9.</summary>
public static class EmbeddedServer
{
    private static readonly TimeSpan LeaseTime = TimeSpan.FromSeconds(30);
    private static readonly TimeSpan QueueLeaseTime = TimeSpan.FromDays(1); // holders die only with this process; a machine that slept is no death

    /// <summary>Serves until it is told to stop; then takes nothing new, finishes what slots have begun, and ends.</summary>
    /// <param name="model">The loaded model; stays the caller's.</param>
    /// <param name="options">How to serve.</param>
    /// <param name="listening">Told where it listens, once it does.</param>
    /// <param name="logging">Where logs go; null for nowhere.</param>
    /// <param name="stop">Asks for the end.</param>
    /// <exception cref="FarmException">It cannot be started, or an error of the head or a worker ended it: one line.</exception>
    public static async Task RunAsync(
        IFarmModel model, ServeOptions options, Action<IReadOnlyList<string>> listening, Action<ILoggingBuilder>? logging, CancellationToken stop)
    {
        ArgumentNullException.ThrowIfNull(model);
        ArgumentNullException.ThrowIfNull(options);
        ArgumentNullException.ThrowIfNull(listening);
        using ILoggerFactory logs = HeadServing.LogsOf(logging);
        DataFolder folder = DataFolder.Take(options.DataFolder); // before any of its files is opened: they have one owner
        MemoryWorkQueue? queue = null;
        FarmHead head;
        var registry = new MemoryWorkerRegistry(LeaseTime);
        ApiKeyRing keys;
        try
        {
            keys = new ApiKeyRing(new ApiKeyFile(folder.FullPath));
            queue = new MemoryWorkQueue(QueueLeaseTime, journalPath: folder.LeasesPath);
        }
        catch
        {
            queue?.Dispose();
            folder.Dispose();
            throw;
        }

        using (queue)
        {
            HeadOptions headOptions = HeadServing.OptionsOf(options, keys, logs);
            head = await FarmHead.StartAsync(model.Description, queue, registry, headOptions, folder, stop);
            await using (head)
            {
                var cache = new ConditionCache(options.CacheMemoryBytes, new DiskConditionTier(folder.ConditionsPath, options.CacheDiskBytes));
                using var worker = new WorkerHost(model, queue, registry, cache, new WorkerOptions
                {
                    Slots = options.Slots,
                    Device = options.Device,
                    LeaseTime = LeaseTime,
                    Pictures = new PictureFolder(folder.PicturesPath),
                    Log = logs.CreateLogger<WorkerHost>(),
                });
                using ChatService? chat = ChatService.Over(model, options.ChatSlots ?? 1);
                await ServeAsync(head, queue, keys, worker, HeadServing.WithChat(HeadServing.WithSecret(options, folder), chat), listening, logging, stop);
            }
        }
    }

    private static async Task ServeAsync(
        FarmHead head, MemoryWorkQueue queue, ApiKeyRing keys, WorkerHost worker, ServeOptions options, Action<IReadOnlyList<string>> listening, Action<ILoggingBuilder>? logging, CancellationToken stop)
    {
        await using FarmWebServer web = await FarmWebServer.StartAsync(head, keys, options.Web, logging, cancellationToken: stop);
        listening(web.Urls);
        await HeadServing.UntilEndAsync(head, web, worker, stop);
        await SettleAsync(queue, worker.Info.Lane);
    }

    // what was finished last shall be on disk, not made again; a disk that takes nothing must not hold the end up
    private static async Task SettleAsync(MemoryWorkQueue queue, string lane)
    {
        for (int i = 0; i < 250 && (await queue.DepthAsync(lane, CancellationToken.None)).UnconfirmedReports > 0; i++)
        {
            await Task.Delay(TimeSpan.FromMilliseconds(20));
        }
    }
}
