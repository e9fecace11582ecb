using MetaQuery.Farm;
using StackExchange.Redis;

namespace MetaQuery.Redis;

/// <summary>One process' connection to Redis: reconnects by itself, and names every failure in one line. Thread-safe.</summary>
/// <remarks>Nothing here ever blocks the connection: it is shared by all slots, so no command may wait inside the server.</remarks>
public sealed class RedisConnection : IAsyncDisposable
{
    private static readonly Version OldestServer = new(7, 0);
    private static readonly TimeSpan FirstPause = TimeSpan.FromMilliseconds(20);
    private static readonly TimeSpan LongestPause = TimeSpan.FromMilliseconds(500);

    private readonly ConnectionMultiplexer _multiplexer;
    private Exception? _refusal;

    private RedisConnection(RedisOptions options, ConnectionMultiplexer multiplexer)
    {
        Options = options;
        _multiplexer = multiplexer;
        // a later attempt that was merely too slow must not hide that the server refuses
        multiplexer.ConnectionFailed += (_, failure) => Volatile.Write(ref _refusal, RedisFailure.IsRefusal(failure.Exception) ? failure.Exception : Volatile.Read(ref _refusal));
        multiplexer.ConnectionRestored += (_, _) => Volatile.Write(ref _refusal, null);
        Database = multiplexer.GetDatabase();
        Subscriber = multiplexer.GetSubscriber();
        Keys = new RedisKeys(options.Namespace);
    }

    public RedisOptions Options { get; }

    public bool IsConnected => _multiplexer.IsConnected;

    internal IDatabase Database { get; }

    internal ISubscriber Subscriber { get; }

    internal RedisKeys Keys { get; }

    /// <summary>Connects, and waits for the server as long as <see cref="RedisOptions.ConnectPatience"/>.</summary>
    /// <exception cref="RedisOptionsException">An option is out of range.</exception>
    /// <exception cref="RedisRefusedException">The server is too old, or refuses user and password.</exception>
    /// <exception cref="WorkQueueException">It cannot be reached.</exception>
    public static async Task<RedisConnection> ConnectAsync(RedisOptions options, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(options);
        options.Check();
        ConnectionMultiplexer multiplexer = await RepeatAsync(() => OpenAsync(options), options.ConnectPatience, cancellationToken);
        var connection = new RedisConnection(options, multiplexer);
        try
        {
            connection.CheckServer();
            return connection;
        }
        catch
        {
            await connection.DisposeAsync();
            throw;
        }
    }

    public async ValueTask DisposeAsync() => await _multiplexer.DisposeAsync();

    /// <summary>One attempt.</summary>
    internal async Task<T> RunAsync<T>(Func<IDatabase, Task<T>> command)
    {
        try
        {
            return await command(Database);
        }
        catch (Exception exception) when (RedisFailure.IsRedis(exception))
        {
            throw Named(exception);
        }
    }

    /// <summary>For what changes nothing when it is done twice: tries again while the failure may pass.</summary>
    internal Task<T> RepeatAsync<T>(Func<IDatabase, Task<T>> command, TimeSpan patience, CancellationToken cancellationToken) =>
        RepeatAsync(() => RunAsync(command), patience, cancellationToken);

    /// <summary>The same on the calling thread: no other thread is needed to go on.</summary>
    internal T Repeat<T>(Func<IDatabase, T> command, TimeSpan patience)
    {
        long start = TimeProvider.System.GetTimestamp();
        for (TimeSpan pause = FirstPause; ; pause = Longer(pause))
        {
            try
            {
                return command(Database);
            }
            catch (Exception exception) when (RedisFailure.IsRedis(exception))
            {
                FarmException failure = Named(exception);
                if (!failure.IsTransient || TimeProvider.System.GetElapsedTime(start) >= patience)
                {
                    throw failure;
                }

                Thread.Sleep(pause);
            }
        }
    }

    private static async Task<T> RepeatAsync<T>(Func<Task<T>> attempt, TimeSpan patience, CancellationToken cancellationToken)
    {
        long start = TimeProvider.System.GetTimestamp();
        for (TimeSpan pause = FirstPause; ; pause = Longer(pause))
        {
            try
            {
                return await attempt();
            }
            catch (WorkQueueException) when (TimeProvider.System.GetElapsedTime(start) < patience)
            {
                await Task.Delay(pause, cancellationToken);
            }
        }
    }

    private static TimeSpan Longer(TimeSpan pause) => pause * 2 < LongestPause ? pause * 2 : LongestPause;

    private FarmException Named(Exception exception) =>
        RedisFailure.Name(exception is RedisConnectionException ? Volatile.Read(ref _refusal) ?? exception : exception, Options);

    private static async Task<ConnectionMultiplexer> OpenAsync(RedisOptions options)
    {
        try
        {
            return await ConnectionMultiplexer.ConnectAsync(Configuration(options));
        }
        catch (Exception exception) when (RedisFailure.IsRedis(exception))
        {
            throw RedisFailure.Name(exception, options);
        }
    }

    /// <summary>As the client library takes it: for libraries that open connections of their own.</summary>
    internal static ConfigurationOptions Configuration(RedisOptions options)
    {
        int commandMilliseconds = (int)options.CommandTimeout.TotalMilliseconds;
        var configuration = new ConfigurationOptions
        {
            EndPoints = { { options.Host, options.Port } },
            User = options.User,
            Password = options.Password,
            Ssl = options.UseTls,
            // an attempt fails at once and says why, and is repeated here; once there was a connection, the client itself reconnects for ever
            AbortOnConnectFail = true,
            ConnectRetry = 1,
            ConnectTimeout = commandMilliseconds,
            AsyncTimeout = commandMilliseconds,
            SyncTimeout = commandMilliseconds,
            KeepAlive = 10,
            ReconnectRetryPolicy = new LinearRetry(200),
            ClientName = "metaquery",
            // one server, no sentinel: nothing to ask about roles, and no keys of the client's own
            ConfigurationChannel = "",
            TieBreaker = "",
            IncludeDetailInExceptions = false,
        };
        if (options.AuthorityFile is { } authority)
        {
            configuration.TrustIssuer(authority);
        }

        return configuration;
    }

    private void CheckServer()
    {
        IServer server = _multiplexer.GetServers()[0];
        if (server.Version < OldestServer)
        {
            throw new RedisRefusedException($"redis at {Options.Address} has version {server.Version}; the farm needs {OldestServer} or newer");
        }
    }
}
