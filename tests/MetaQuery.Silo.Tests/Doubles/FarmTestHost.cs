using MetaQuery.Farm;
using MetaQuery.Silo.Web;

namespace MetaQuery.Silo.Tests.Doubles;

/// <summary>API and page over a farm, on a real Kestrel at a free port of loopback.</summary>
public sealed class FarmTestHost : IAsyncDisposable
{
    private readonly FarmWebServer _server;
    private readonly IDisposable? _owned;

    private FarmTestHost(FarmWebServer server, IDisposable? owned)
    {
        (_server, _owned) = (server, owned);
        Url = new Uri(server.Urls[0]);
        Http = new HttpClient { BaseAddress = Url, Timeout = TimeSpan.FromMinutes(2) };
    }

    /// <summary>Where it listens.</summary>
    public Uri Url { get; }

    public HttpClient Http { get; }

    /// <summary>Serves a <see cref="FakeFarm"/> whose images take so long each; goes away with the host.</summary>
    public static Task<FarmTestHost> StartAsync(TimeSpan timePerImage = default, WebOptions? options = null, ApiKeyRing? keys = null, TimeProvider? time = null, bool readsPictures = false)
    {
        var farm = new FakeFarm(timePerImage, keys) { ReadsPictures = readsPictures };
        return StartAsync(farm, options, keys, farm, time);
    }

    public static async Task<FarmTestHost> StartAsync(IFarm farm, WebOptions? options = null, ApiKeyRing? keys = null, IDisposable? owned = null, TimeProvider? time = null)
    {
        options = (options ?? new WebOptions()) with { Urls = ["http://127.0.0.1:0"] };
        return new FarmTestHost(await FarmWebServer.StartAsync(farm, keys ?? new ApiKeyRing(file: null), options, time: time), owned);
    }

    public async ValueTask DisposeAsync()
    {
        Http.Dispose();
        await _server.StopAsync();
        await _server.DisposeAsync();
        _owned?.Dispose();
    }
}
