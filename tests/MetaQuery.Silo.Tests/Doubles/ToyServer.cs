using MetaQuery.Farm;
using MetaQuery.Farm.Tests.Doubles;
using MetaQuery.Silo.Hosting;
using MetaQuery.Silo.Web;

namespace MetaQuery.Silo.Tests.Doubles;

/// <summary>All that <c>./farm serve</c> runs, in this process, with a model of toys: head, journal, disk, queue, workers, web.</summary>
internal sealed class ToyServer : IAsyncDisposable
{
    private readonly TemporaryFolder? _owned;
    private readonly CancellationTokenSource _stop = new();
    private readonly Task _serving;

    private ToyServer(TemporaryFolder? owned, CancellationTokenSource stop, Task serving, Uri url)
    {
        (_owned, _stop, _serving, Url) = (owned, stop, serving, url);
        Http = new HttpClient { BaseAddress = url, Timeout = TimeSpan.FromMinutes(5) };
    }

    public Uri Url { get; }

    public HttpClient Http { get; }

    /// <param name="dataFolder">Null for one that goes away with the server.</param>
    public static async Task<ToyServer> StartAsync(string? dataFolder = null, WebOptions? web = null, IFarmModel? model = null)
    {
        TemporaryFolder? owned = dataFolder is null ? new TemporaryFolder() : null;
        var stop = new CancellationTokenSource();
        var listening = new TaskCompletionSource<Uri>(TaskCreationOptions.RunContinuationsAsynchronously);
        var options = new ServeOptions
        {
            DataFolder = dataFolder ?? owned!.Path,
            ModelFolder = "toy",
            Slots = 2,
            Web = (web ?? new WebOptions()) with { Urls = ["http://127.0.0.1:0"] },
        };
        Task serving = Task.Run(() => EmbeddedServer.RunAsync(model ?? new ToyModel(), options, urls => listening.SetResult(new Uri(urls[0])), logging: null, stop.Token));
        await Task.WhenAny(serving, listening.Task);
        if (serving.IsFaulted)
        {
            owned?.Dispose();
            await serving;
        }

        return new ToyServer(owned, stop, serving, await listening.Task);
    }

    /// <summary>Waits until its worker has joined.</summary>
    public Task ReadyAsync() => Eventually.Async(async () => (await Http.GetAsync("/readyz")).IsSuccessStatusCode || (_serving.IsFaulted ? throw _serving.Exception! : false));

    public async ValueTask DisposeAsync()
    {
        Http.Dispose();
        await _stop.CancelAsync();
        await _serving;
        _stop.Dispose();
        _owned?.Dispose();
    }
}
