using System.Collections;
using System.Net;
using System.Net.Sockets;
using System.Security.Cryptography;
using System.Threading.RateLimiting;
using MetaQuery.Client;
using MetaQuery.Farm;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;

namespace MetaQuery.Silo.Web;

/// <summary>The web API and the page over a farm, on Kestrel.</summary>
public sealed partial class FarmWebServer : IAsyncDisposable
{
    private readonly WebApplication _app;
    private readonly EventHubs _hubs;

    private FarmWebServer(WebApplication app, EventHubs hubs) => (_app, _hubs) = (app, hubs);

    /// <summary>Where it listens, once started: with the ports that were free.</summary>
    public IReadOnlyList<string> Urls => [.. _app.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses];

    /// <summary>Builds and starts the server.</summary>
    /// <exception cref="WebStartException">It would be open to others without keys, or an address cannot be listened on.</exception>
    public static async Task<FarmWebServer> StartAsync(
        IFarm farm, ApiKeyRing keys, WebOptions options, Action<ILoggingBuilder>? logging = null, TimeProvider? time = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(farm);
        ArgumentNullException.ThrowIfNull(keys);
        ArgumentNullException.ThrowIfNull(options);
        CheckUrls(options.Urls, keys);
        CheckOrigins(options.AllowedOrigins);
        WebApplicationBuilder builder = WebApplication.CreateSlimBuilder(new WebApplicationOptions { ApplicationName = "MetaQuery.Silo", EnvironmentName = Environments.Production, ContentRootPath = AppContext.BaseDirectory });
        builder.Configuration.Sources.Clear(); // nothing is read from a file; of the environment, what OpenTelemetry looks for
        builder.Configuration.AddInMemoryCollection(
            from DictionaryEntry variable in Environment.GetEnvironmentVariables()
            where ((string)variable.Key).StartsWith("OTEL_", StringComparison.Ordinal) && (string)variable.Key != Telemetry.Disabled // which is about exports; /metrics stays
            select KeyValuePair.Create((string)variable.Key, (string?)variable.Value));
        builder.WebHost.UseUrls([.. options.Urls]);
        builder.WebHost.ConfigureKestrel(kestrel =>
        {
            kestrel.AddServerHeader = false;
            kestrel.Limits.MaxRequestBodySize = null; // checked where a body is read; Kestrel's own refusal would cut the connection before its answer is read
            kestrel.Limits.MaxRequestHeadersTotalSize = 32 * 1024;
        });
        builder.Logging.ClearProviders();
        logging?.Invoke(builder.Logging);
        builder.Logging.AddFilter("Microsoft.Extensions.Hosting.Internal.Host", LogLevel.Critical); // a port in use is told in one line, not with a stack trace before
        ConfigureServices(builder.Services, farm, keys, options, time ?? TimeProvider.System);
        WebApplication app = builder.Build();
        var hubs = app.Services.GetRequiredService<EventHubs>();
        Configure(app, farm, keys, options);
        app.Lifetime.ApplicationStopping.Register(hubs.Stop);
        ILogger log = app.Services.GetRequiredService<ILogger<FarmWebServer>>();
        keys.Unreadable += (_, reason) => KeysStay(log, reason);
        try
        {
            await app.StartAsync(cancellationToken);
        }
        catch (Exception exception) when (exception is IOException or SocketException or InvalidOperationException)
        {
            await app.DisposeAsync();
            throw new WebStartException($"cannot listen on {string.Join(", ", options.Urls)}: {exception.Message}", exception);
        }

        return new FarmWebServer(app, hubs);
    }

    /// <summary>Takes no new requests, lets those under way end for some seconds, then stops.</summary>
    public Task StopAsync(CancellationToken cancellationToken = default)
    {
        _hubs.Stop();
        return _app.StopAsync(cancellationToken);
    }

    public ValueTask DisposeAsync() => _app.DisposeAsync();

    /// <summary>What a server may listen on: anybody's reach only with keys.</summary>
    /// <exception cref="WebStartException">An address is none, or is open to others without keys.</exception>
    public static void CheckUrls(IReadOnlyList<string> urls, ApiKeyRing keys)
    {
        foreach (string url in urls)
        {
            if (!Uri.TryCreate(url.Replace("://*", "://0.0.0.0", StringComparison.Ordinal).Replace("://+", "://0.0.0.0", StringComparison.Ordinal), UriKind.Absolute, out Uri? address) || address.Scheme is not ("http" or "https"))
            {
                throw new WebStartException($"--urls {url}: must be an address such as http://127.0.0.1:8080");
            }

            if (address.Scheme == "https")
            {
                throw new WebStartException($"--urls {url}: this server speaks http only; put a proxy that ends TLS in front of it");
            }

            bool isLoopback = address.Host == "localhost" || (IPAddress.TryParse(address.Host.Trim('[', ']'), out IPAddress? ip) && IPAddress.IsLoopback(ip));
            if (!isLoopback && !keys.HasGoodKey)
            {
                throw new WebStartException($"--urls {url} is not loopback, and there is no API key: ./farm keys add --tenant NAME makes one");
            }
        }
    }

    /// <exception cref="WebStartException">A value is no origin: a browser would never send it.</exception>
    internal static void CheckOrigins(IReadOnlyList<string> origins)
    {
        foreach (string origin in origins)
        {
            if (!Uri.TryCreate(origin, UriKind.Absolute, out Uri? address) || address.Scheme is not ("http" or "https") || address.GetLeftPart(UriPartial.Authority) != origin.ToLowerInvariant())
            {
                throw new WebStartException($"--cors {origin}: must be an origin such as https://farm.example.org, without a path");
            }
        }
    }

    private static void ConfigureServices(IServiceCollection services, IFarm farm, ApiKeyRing keys, WebOptions options, TimeProvider time)
    {
        services.AddSingleton(farm).AddSingleton(keys).AddSingleton<ITenantDirectory>(keys).AddSingleton(options).AddSingleton(time);
        services.AddSingleton(new UrlSigner(options.UrlSecret ?? RandomNumberGenerator.GetBytes(32), time));
        services.AddSingleton<EventHubs>().AddSingleton<BodyBudget>().AddSingleton<Thumbnails>().AddSingleton<OutputEndpoints>().AddSingleton<ImageEndpoints>().AddSingleton<ChatEndpoints>().AddSingleton<EventEndpoint>().AddSingleton<FarmMeters>();
        services.ConfigureHttpJsonOptions(json => // what the OpenAPI document is made from
        {
            json.SerializerOptions.TypeInfoResolverChain.Insert(0, FarmJson.Default);
            json.SerializerOptions.PropertyNamingPolicy = FarmJson.Default.Options.PropertyNamingPolicy;
            json.SerializerOptions.NumberHandling = FarmJson.Default.Options.NumberHandling;
        });
        services.Configure<RouteHandlerOptions>(route => route.ThrowOnBadRequest = true);
        services.Configure<HostOptions>(host => host.ShutdownTimeout = TimeSpan.FromSeconds(10));
        services.AddOpenApi("v1", document => DocumentSetup.Configure(document, farm.Model));
        services.AddCors(cors => cors.AddDefaultPolicy(policy => policy.WithOrigins([.. options.AllowedOrigins]).AllowAnyMethod().AllowAnyHeader().WithExposedHeaders("x-request-id", "Retry-After", "ETag", "Content-Range")));
        Telemetry.Add(services);
    }

    private static void Configure(WebApplication app, IFarm farm, ApiKeyRing keys, WebOptions options)
    {
        app.UseMiddleware<ErrorAnswers>();
        app.Use(next => context => SecurityHeaders.AddAsync(context, next));
        app.UseMiddleware<PageFiles>();
        app.UseRouting();
        app.UseCors();
        app.UseMiddleware<AccessCheck>();
        if (options.RequestsPerMinute > 0)
        {
            app.UseMiddleware<TenantRateLimit>(TenantRateLimit.Create(options.RequestsPerMinute));
        }

        JobEndpoints.Map(app, farm, keys, options);
        app.Services.GetRequiredService<OutputEndpoints>().Map(app);
        app.Services.GetRequiredService<EventEndpoint>().Map(app);
        app.Services.GetRequiredService<ImageEndpoints>().Map(app);
        app.Services.GetRequiredService<ImageEndpoints>().MapEdits(app);
        app.Services.GetRequiredService<ChatEndpoints>().Map(app);
        FarmEndpoints.Map(app, farm, keys, DateTimeOffset.UtcNow);
        SiloEndpoints.Map(app, farm);
        TenantEndpoints.Map(app, farm, keys);
        Telemetry.MapMetrics(app, options);
        app.MapOpenApi();
    }

    [LoggerMessage(1, LogLevel.Error, "{Reason}; the keys stay as they were")]
    private static partial void KeysStay(ILogger logger, string reason);
}

/// <summary>The server cannot be started as asked: one line.</summary>
public sealed class WebStartException(string message, Exception? inner = null) : FarmException(message, inner)
{
    public override int ExitCode => ExitCodes.InvalidInput;
}
