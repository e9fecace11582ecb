using MetaQuery.Farm;
using MetaQuery.Redis;
using MetaQuery.Silo.Web;
using Microsoft.Extensions.Logging;

namespace MetaQuery.Silo.Hosting;

/// <summary><c>./farm serve --redis</c>: web API, page and head in one process; workers join through Redis and the data folder.</summary>
public static class RedisHead
{
    /// <summary>Serves until it is told to stop. Jobs stay as they are: the next head on the data folder goes on with them.</summary>
    /// <param name="options">How to serve; what concerns slots and caches is the workers' own.</param>
    /// <param name="redis">Where workers are met.</param>
    /// <param name="listening">Told where it listens, once it does.</param>
    /// <param name="logging">Where logs go; null for nowhere.</param>
    /// <param name="stop">Asks for the end.</param>
    /// <exception cref="FarmException">It cannot be started, or the head met an error of its own: one line.</exception>
    /// <exception cref="Models.Checkpoints.CheckpointException">The model folder is not usable.</exception>
    public static async Task RunAsync(
        ServeOptions options, RedisFarmOptions redis, Action<IReadOnlyList<string>> listening, Action<ILoggingBuilder>? logging, CancellationToken stop)
    {
        ArgumentNullException.ThrowIfNull(options);
        ArgumentNullException.ThrowIfNull(redis);
        ArgumentNullException.ThrowIfNull(listening);
        using ILoggerFactory logs = HeadServing.LogsOf(logging);
        await using RedisFarm farm = await RedisFarm.ConnectAsync(redis, stop); // before seconds are spent on hashing the model
        farm.Log = logs.CreateLogger<RedisFarm>();
        ModelDescription model = LocalModel.Describe(options.ModelFolder);
        using ChatService? chat = options.ChatSlots is > 0 and var slots
            ? ChatService.Load(options.ModelFolder, model.Conditions.ModelRevision, options.Dtype, options.Threads, slots, options.Device)
            : null;
        DataFolder folder = DataFolder.Take(options.DataFolder);
        RedisWorkFeed? feed = null;
        ApiKeyRing keys;
        try
        {
            keys = new ApiKeyRing(new ApiKeyFile(folder.FullPath));
            await RedisFolderClaim.ClaimAsync(farm.Connection, folder);
            feed = await RedisWorkFeed.OpenAsync(farm.Connection, farm.Queue);
        }
        catch
        {
            folder.Dispose();
            throw;
        }

        await using (feed)
        {
            await using FarmHead head = await FarmHead.StartAsync(model, feed, farm.CreateRegistry(), HeadServing.OptionsOf(options, keys, logs), folder, stop);
            await using FarmWebServer web = await FarmWebServer.StartAsync(head, keys, HeadServing.WithChat(HeadServing.WithSecret(options, folder), chat).Web, logging, cancellationToken: stop);
            listening(web.Urls);
            await HeadServing.UntilEndAsync(head, web, worker: null, stop);
        }
    }
}
