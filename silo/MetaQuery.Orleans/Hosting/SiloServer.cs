using System.Net;
using System.Net.Sockets;
using MetaQuery.Farm;
using MetaQuery.Redis;
using MetaQuery.Silo;
using MetaQuery.Silo.Hosting;
using MetaQuery.Silo.Web;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Orleans.Runtime;

namespace MetaQuery.Orleans;

/// <summary><c>./farm silo</c>: one process of the cluster, with the roles it is given.</summary>
public static class SiloServer
{
    private static readonly TimeSpan StopPatience = TimeSpan.FromSeconds(15);

    /// <summary>Joins the cluster and works until it is told to leave, or until an error ends it.</summary>
    /// <param name="options">How to run.</param>
    /// <param name="joined">Told once it is in: the silo, and where its web API listens (nowhere without the role <c>head</c>).</param>
    /// <param name="logging">Where logs go; null for nowhere.</param>
    /// <param name="stop">Finishes what slots have begun, gives back the rest, hands the head over and leaves.</param>
    /// <exception cref="FarmException">It cannot join, or cannot go on: one line.</exception>
    /// <exception cref="Models.Checkpoints.CheckpointException">The model folder is not usable.</exception>
    public static async Task RunAsync(SiloOptions options, Action<SiloAddress, IReadOnlyList<string>> joined, Action<ILoggingBuilder>? logging, CancellationToken stop)
    {
        ArgumentNullException.ThrowIfNull(options);
        ArgumentNullException.ThrowIfNull(joined);
        options = options with { SiloPort = PortOf(options.SiloPort, options.Address, "--silo-port"), GatewayPort = PortOf(options.GatewayPort, options.Address, "--gateway-port") };
        await using IFarmBackbone backbone = await ConnectAsync(options, stop); // before seconds are spent on the model
        using LocalModel? model = options.WorkRoles == WorkRoles.None
            ? null
            : LocalModel.Load(
                options.Serve.ModelFolder, options.Serve.Dtype, options.Serve.Threads, options.WorkRoles, options.Device, options.Serve.MemoryBudgetBytes,
                options.Serve.CacheMemoryBytes);
        ModelDescription description = LocalModel.Describe(options.Serve.ModelFolder);
        using ChatService? chat = options.IsHead && options.Serve.ChatSlots is > 0 and var chatSlots
            ? ChatService.Load(options.Serve.ModelFolder, description.Conditions.ModelRevision, options.Serve.Dtype, options.Serve.Threads, chatSlots, options.Device)
            : null;
        await RunAsync(options with { Serve = HeadServing.WithChat(options.Serve, chat) }, backbone, model, description, joined, logging, stop);
    }

    /// <summary>The same with a model that is there already, for tests.</summary>
    /// <param name="model">Loaded with the halves that the roles need; null without slots. Stays the caller's, as the backbone does.</param>
    /// <param name="description">The model that jobs are for.</param>
    public static async Task RunAsync(
        SiloOptions options, IFarmBackbone backbone, IFarmModel? model, ModelDescription description, Action<SiloAddress, IReadOnlyList<string>> joined,
        Action<ILoggingBuilder>? logging, CancellationToken stop)
    {
        ArgumentNullException.ThrowIfNull(options);
        ArgumentNullException.ThrowIfNull(joined);
        ServeOptions serve = options.Serve;
        using ILoggerFactory logs = HeadServing.LogsOf(logging);
        backbone.LogTo(logs.CreateLogger<RedisFarm>());
        var keys = new ApiKeyRing(new ApiKeyFile(serve.DataFolder));
        if (options.IsHead)
        {
            FarmWebServer.CheckUrls(serve.Web.Urls, keys);
        }

        var tenants = new ClusterTenants(keys);
        var parts = new SiloParts(
            options.Roles, backbone, tenants, options.IsHead ? new HeadSettings(description, HeadServing.OptionsOf(serve, tenants, logs), IsAlone: options.Redis is null) : null,
            new SlotSettings(model, options.WorkRoles, options.Device, serve.DataFolder, serve.CacheMemoryBytes) { Log = logs.CreateLogger<WorkerHost>() }, options.Slots,
            options.IsHead ? string.Join(' ', serve.Web.Urls) : "", options.Membership);
        using IHost host = Build(options, parts, logging);
        var life = host.Services.GetRequiredService<SiloLife>();
        life.OnDeath = options.OnDeath;
        options.Built?.Invoke(host.Services);
        await StartAsync(host, options, stop);
        try
        {
            await ServeAsync(host.Services, options, backbone, description, model?.Description.Lane ?? description.Lane, keys, joined, logging, stop);
        }
        finally
        {
            // the cluster is told, so that nobody waits for this silo's death to be noticed; where Redis does not answer, nobody can be, and Orleans would try for minutes
            await host.StopAsync(CancellationToken.None).WaitAsync(StopPatience).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    private static async Task<IFarmBackbone> ConnectAsync(SiloOptions options, CancellationToken stop)
    {
        if (options.Redis is not { } redis)
        {
            return new MemoryBackbone(Path.Combine(options.Serve.DataFolder, "conditions"), options.Serve.CacheDiskBytes);
        }

        RedisFarm farm = await RedisFarm.ConnectAsync(redis, stop);
        try
        {
            await RedisFolderClaim.CheckAsync(farm.Connection, redis.DataFolder); // its slots' samples would lie where no head looks
            return new RedisBackbone(farm);
        }
        catch
        {
            await farm.DisposeAsync();
            throw;
        }
    }

    private static IHost Build(SiloOptions options, SiloParts parts, Action<ILoggingBuilder>? logging)
    {
        HostApplicationBuilder builder = Host.CreateEmptyApplicationBuilder(new HostApplicationBuilderSettings { DisableDefaults = true, ApplicationName = "MetaQuery.Orleans" });
        logging?.Invoke(builder.Logging);
        builder.Logging.AddFilter("Orleans", LogLevel.Warning);
        foreach (string noise in (string[])["Orleans.Runtime.Silo", "Orleans.Runtime.Scheduler", "Orleans.Runtime.Watchdog", "Orleans.Runtime.CallbackData", "Orleans.Runtime.Messaging.ConnectionManager"])
        {
            builder.Logging.AddFilter(noise, LogLevel.Error); // what is slow on a busy machine, and each try to reach a silo that is gone: its missed probes are told
        }

        foreach (string echo in (string[])["Orleans.Messaging", "Polly", "Microsoft.Extensions.Hosting.Internal.Host"])
        {
            builder.Logging.AddFilter(echo, LogLevel.Critical); // told by the failure of the call itself, and in one line by whoever runs the silo
        }

        builder.Services.AddSingleton<IHostLifetime, QuietLifetime>(); // signals are the command line's
        builder.UseOrleans(silo =>
        {
            if (options.Redis is { } redis)
            {
                silo.UseFarmRedis(redis.Redis);
            }
            else
            {
                silo.UseFarmLocalhost(options.SiloPort, options.GatewayPort);
            }

            silo.UseFarmEndpoints(options.Address, options.SiloPort, options.GatewayPort);
            silo.AddFarm(parts);
        });
        return builder.Build();
    }

    private static async Task StartAsync(IHost host, SiloOptions options, CancellationToken stop)
    {
        try
        {
            await host.StartAsync(stop);
        }
        catch (Exception exception) when (exception is not OperationCanceledException && stop.IsCancellationRequested)
        {
            throw new OperationCanceledException("asked to leave before it had joined", exception, stop); // Orleans has an exception of its own for it
        }
        catch (Exception exception) when (exception is not OperationCanceledException and not FarmException)
        {
            throw new ClusterException(
                $"silo {options.Address}:{options.SiloPort} cannot join the cluster{(options.Redis is { } redis ? $" on Redis at {redis.Redis.Address}" : "")}: {exception.GetBaseException().Message.ReplaceLineEndings(" ")}",
                isTransient: true, exception);
        }
    }

    private static async Task ServeAsync(
        IServiceProvider services, SiloOptions options, IFarmBackbone backbone, ModelDescription description, string lane, ApiKeyRing keys,
        Action<SiloAddress, IReadOnlyList<string>> joined, Action<ILoggingBuilder>? logging, CancellationToken stop)
    {
        var silo = services.GetRequiredService<ILocalSiloDetails>().SiloAddress;
        var grains = services.GetRequiredService<IGrainFactory>();
        var heads = services.GetRequiredService<HeadHost>();
        var slots = services.GetRequiredService<SlotFleet>();
        var life = services.GetRequiredService<SiloLife>();
        FarmWebServer? web = null;
        try
        {
            if (options.IsHead)
            {
                Directory.CreateDirectory(options.Serve.DataFolder);
                var farm = new ClusterFarm(grains, description.Images, description.PictureRefusal is not null, backbone.Registry, services.GetRequiredService<HeadWhereabouts>(), options.Serve.DataFolder);
                WebOptions served = options.Serve.Web with { UrlSecret = UrlSecret.Of(options.Serve.DataFolder) };
                web = await FarmWebServer.StartAsync(farm, keys, served, logging, cancellationToken: stop);
            }

            if (options.Slots > 0)
            {
                await ClusterCalls.RepeatAsync(() => grains.GetGrain<ISiloGrain>(silo.ToParsableString()).ScaleAsync(options.Slots), stop);
            }

            joined(silo, web?.Urls ?? []);
            Task asked = HeadServing.WaitAsync(CancellationTokenSource.CreateLinkedTokenSource(stop, life.Leaving).Token);
            await Task.WhenAny(asked, heads.Broken, slots.Broken, life.Dead);
        }
        finally
        {
            life.Leave();
            if (heads.Broken.IsCompleted)
            {
                await heads.LeaveAsync(); // another silo's head need not wait for this one's slots
            }

            await slots.DrainAllAsync(); // what has begun is finished and reported while a head is there to take it
            if (web is not null)
            {
                await web.StopAsync(CancellationToken.None);
                await web.DisposeAsync();
            }

            await backbone.SettleAsync(lane);
            await heads.LeaveAsync();
        }

        foreach (Task<Exception> broken in (Task<Exception>[])[life.Dead, heads.Broken, slots.Broken])
        {
            if (broken.IsCompleted)
            {
                throw broken.Result is FarmException known ? known : new HeadBrokenException(broken.Result);
            }
        }
    }

    private static int PortOf(int port, IPAddress address, string option)
    {
        try
        {
            using var listener = new TcpListener(address, port);
            listener.Start();
            return ((IPEndPoint)listener.LocalEndpoint).Port;
        }
        catch (SocketException exception) when (exception.SocketErrorCode == SocketError.AddressNotAvailable)
        {
            throw new ClusterException($"--address {address}: is no address of this machine", isTransient: false, exception);
        }
        catch (SocketException exception)
        {
            throw new ClusterException($"{option} {port}: cannot be listened on at {address} ({exception.Message}); name a free port, or 0 for any", isTransient: true, exception);
        }
    }
}
