using MetaQuery.Redis;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Orleans.Configuration;
using Orleans.Hosting;

namespace MetaQuery.Orleans;

/// <summary>A program's own way to the grains, without being a silo: for tests, measurements and tools. Users speak to the web API.</summary>
public sealed class ClusterConnection : IAsyncDisposable
{
    private readonly IHost _host;

    private ClusterConnection(IHost host) => _host = host;

    public IGrainFactory Grains => _host.Services.GetRequiredService<IClusterClient>();

    /// <summary>Connects to the silos that Redis names.</summary>
    /// <exception cref="ClusterException">There is none that answers.</exception>
    public static async Task<ClusterConnection> OpenAsync(RedisOptions redis, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(redis);
        HostApplicationBuilder builder = Host.CreateEmptyApplicationBuilder(new HostApplicationBuilderSettings { DisableDefaults = true, ApplicationName = "MetaQuery.Orleans" });
        builder.Services.AddSingleton<IHostLifetime, QuietLifetime>();
        builder.UseOrleansClient(client =>
        {
            client.UseRedisClustering(options => options.ConfigurationOptions = RedisConnection.Configuration(redis));
            client.Configure<ClusterOptions>(options => SiloSetup.Name(options, redis.Namespace));
            client.Configure<GatewayOptions>(options => options.GatewayListRefreshPeriod = TimeSpan.FromSeconds(5));
        });
        IHost host = builder.Build();
        try
        {
            await host.StartAsync(cancellationToken);
            return new ClusterConnection(host);
        }
        catch (Exception exception) when (exception is not OperationCanceledException)
        {
            host.Dispose();
            throw new ClusterException($"no silo of cluster {redis.Namespace} on Redis at {redis.Address} answers: {exception.GetBaseException().Message.ReplaceLineEndings(" ")}", isTransient: true, exception);
        }
    }

    public async ValueTask DisposeAsync()
    {
        await _host.StopAsync(CancellationToken.None);
        _host.Dispose();
    }
}

/// <summary>Signals are the command line's, not a host's.</summary>
internal sealed class QuietLifetime : IHostLifetime
{
    public Task WaitForStartAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    public Task StopAsync(CancellationToken cancellationToken) => Task.CompletedTask;
}
