using MetaQuery.Farm;
using MetaQuery.Redis;
using MetaQuery.TestKit;

namespace MetaQuery.Benchmarks.Farm;

/// <summary>A queue on a redis-server of its own, its parts on a connection each as in separate processes.</summary>
internal sealed class RedisQueue : IAsyncDisposable
{
    private readonly RealRedis _server;
    private readonly DirectoryInfo _inbox = Directory.CreateTempSubdirectory("metaquery-bench-inbox-");
    private readonly List<IAsyncDisposable> _parts = [];

    /// <param name="appendOnly">Whether the server writes its log, as in production.</param>
    public RedisQueue(bool appendOnly) => _server = RealRedis.With(appendOnly: appendOnly);

    public long UsedMemory => _server.UsedMemory();

    public async Task<RedisWorkFeed> OpenFeedAsync()
    {
        RedisWorkFeed feed = await RedisWorkFeed.OpenAsync(await ConnectAsync(), Options);
        _parts.Add(feed);
        return feed;
    }

    public async Task<RedisWorkQueue> OpenQueueAsync()
    {
        RedisWorkQueue queue = await RedisWorkQueue.OpenAsync(await ConnectAsync(), Options);
        _parts.Add(queue);
        return queue;
    }

    public async ValueTask DisposeAsync()
    {
        foreach (IAsyncDisposable part in Enumerable.Reverse(_parts))
        {
            await part.DisposeAsync();
        }

        _server.Dispose();
        _inbox.Delete(recursive: true);
    }

    private RedisQueueOptions Options => new() { InboxFolder = _inbox.FullName };

    private async Task<RedisConnection> ConnectAsync()
    {
        RedisConnection connection = await RedisConnection.ConnectAsync(RedisOptions.Parse(_server.Address), CancellationToken.None);
        _parts.Add(connection);
        return connection;
    }
}
