using MetaQuery.Client;
using MetaQuery.Farm;
using MetaQuery.Farm.Tests.Doubles;
using MetaQuery.Redis;
using MetaQuery.Silo.Hosting;
using MetaQuery.Silo.Web;
using MetaQuery.TestKit;
using Microsoft.Extensions.DependencyInjection;
using Orleans.Runtime;

namespace MetaQuery.Orleans.Tests.Doubles;

/// <summary>All that <c>./farm silo</c> runs, in this process, with a model of toys unless another is given: Orleans, grains, slots, head, web, over a real Redis.</summary>
internal sealed class ToySilo : IAsyncDisposable
{
    private readonly CancellationTokenSource _stop;
    private readonly IFarmBackbone _backbone;

    private ToySilo(CancellationTokenSource stop, IFarmBackbone backbone, Task running, SiloAddress address, string? url, IServiceProvider services)
    {
        (_stop, _backbone, Running, Address, Services) = (stop, backbone, running, address, services);
        Client = url is null ? null! : new FarmClient(new Uri(url), key: null);
    }

    /// <summary>Ends with the silo.</summary>
    public Task Running { get; }

    public SiloAddress Address { get; }

    /// <summary>Its parts.</summary>
    public IServiceProvider Services { get; }

    /// <summary>What this silo believes of the head's place.</summary>
    public HeadWhereabouts Whereabouts => Services.GetRequiredService<HeadWhereabouts>();

    public string Id => Address.ToParsableString();

    /// <summary>Of its web API; null without the role <c>head</c>.</summary>
    public FarmClient Client { get; }

    /// <param name="redis">Null for localhost clustering.</param>
    /// <param name="membership">Null for the times of the command.</param>
    /// <param name="stop">Asks it to leave, as SIGTERM does; its own from then on.</param>
    public static async Task<ToySilo> StartAsync(
        RealRedis? redis, string dataFolder, SiloRoles roles = SiloRoles.All, int slots = 1, IFarmModel? model = null, MembershipTimes? membership = null,
        CancellationTokenSource? stop = null)
    {
        var farm = redis is null ? null : new RedisFarmOptions { Redis = RedisOptions.Parse(redis.Address), DataFolder = dataFolder, LeaseTime = TimeSpan.FromSeconds(10) };
        IFarmBackbone backbone = farm is null ? new MemoryBackbone(Path.Combine(dataFolder, "conditions"), 1 << 30) : new RedisBackbone(await RedisFarm.ConnectAsync(farm, CancellationToken.None));
        IServiceProvider? services = null;
        var options = new SiloOptions
        {
            Redis = farm,
            Roles = roles,
            Membership = membership ?? new MembershipTimes(),
            Built = built => services = built,
            SiloPort = RealRedis.FreePort(),
            GatewayPort = RealRedis.FreePort(),
            Serve = new ServeOptions { DataFolder = dataFolder, ModelFolder = "toy", Slots = slots, Web = new WebOptions { Urls = ["http://127.0.0.1:0"] } },
        };
        model ??= new ToyModel();
        stop ??= new CancellationTokenSource();
        var joined = new TaskCompletionSource<(SiloAddress, string?)>(TaskCreationOptions.RunContinuationsAsynchronously);
        bool computes = (roles & (SiloRoles.Mllm | SiloRoles.Dit)) != SiloRoles.None;
        Task running = Task.Run(() => SiloServer.RunAsync(
            options, backbone, computes ? model : null, model.Description, (silo, urls) => joined.SetResult((silo, urls.Count > 0 ? urls[0] : null)), logging: null, stop.Token));
        await Task.WhenAny(running, joined.Task);
        if (!joined.Task.IsCompleted)
        {
            await backbone.DisposeAsync();
            await running;
        }

        (SiloAddress address, string? url) = await joined.Task;
        return new ToySilo(stop, backbone, running, address, url, services!);
    }

    /// <summary>As SIGTERM does.</summary>
    public async Task StopAsync()
    {
        await _stop.CancelAsync();
        await Running;
    }

    public async ValueTask DisposeAsync()
    {
        Client?.Dispose();
        await StopAsync();
        await _backbone.DisposeAsync();
        _stop.Dispose();
    }
}

/// <summary>Waits for a condition, with a generous limit.</summary>
internal static class Until
{
    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(5);

    public static async Task<T> Async<T>(Func<Task<T>> look, Func<T, bool> isGood, string what, TimeSpan? patience = null)
    {
        TimeSpan limit = patience ?? Patience;
        long start = TimeProvider.System.GetTimestamp();
        while (true)
        {
            T seen = await look();
            if (isGood(seen))
            {
                return seen;
            }

            Assert.True(TimeProvider.System.GetElapsedTime(start) < limit, $"waited {limit} for {what}; last seen: {seen}");
            await Task.Delay(TimeSpan.FromMilliseconds(50));
        }
    }
}
