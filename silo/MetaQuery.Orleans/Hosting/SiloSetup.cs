using System.Net;
using MetaQuery.Redis;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.DependencyInjection.Extensions;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;
using Orleans.Configuration;
using Orleans.Hosting;
using Orleans.Persistence;
using Orleans.Runtime;
using Orleans.Runtime.MembershipService.SiloMetadata;
using Orleans.Runtime.Placement;
using Orleans.Serialization;
using Orleans.Storage;

namespace MetaQuery.Orleans;

/// <summary>What the parts of a silo are made with.</summary>
/// <param name="Head">Null without the role.</param>
/// <param name="Urls">Where its web API listens.</param>
/// <param name="InitialSlots">Slots that it begins with.</param>
public sealed record SiloParts(
    SiloRoles Roles, IFarmBackbone Backbone, ClusterTenants Tenants, HeadSettings? Head, SlotSettings Slots, int InitialSlots, string Urls, MembershipTimes Membership);

/// <summary>Puts the farm's grains, placement, clustering and storage into an Orleans silo: the same for the command, and for a test's cluster.</summary>
public static class SiloSetup
{
    /// <summary>Grains, placement, and what they stand on.</summary>
    public static ISiloBuilder AddFarm(this ISiloBuilder silo, SiloParts parts)
    {
        ArgumentNullException.ThrowIfNull(silo);
        ArgumentNullException.ThrowIfNull(parts);
        silo.UseSiloMetadata(SiloFacts.Publish(parts.Roles, parts.InitialSlots, Environment.ProcessId, parts.Urls));
        silo.AddIncomingGrainCallFilter<FaultFilter>();
        silo.AddPlacementDirector<HeadPlacement>(services => ActivatorUtilities.CreateInstance<HeadPlacementDirector>(services));
        silo.AddPlacementDirector<OwnerPlacement>(_ => new OwnerPlacementDirector());
        silo.Configure<ClusterMembershipOptions>(options => Set(options, parts.Membership));
        silo.Configure<ReminderOptions>(options => options.MinimumReminderPeriod = parts.Membership.Reminder);
        silo.Services.TryAddSingleton(TimeProvider.System);
        silo.Services
            .AddSingleton(parts.Membership)
            .AddSingleton(parts.Backbone)
            .AddSingleton(parts.Tenants)
            .AddSingleton(parts.Slots)
            .AddSingleton<HeadWhereabouts>()
            .AddSingleton<SiloLife>()
            .AddSingleton(services => ActivatorUtilities.CreateInstance<SlotFleet>(services))
            .AddSingleton(services => new HeadHost(
                parts.Head, parts.Backbone, parts.Tenants, services.GetRequiredService<ILocalSiloDetails>(), services.GetRequiredService<IGrainFactory>(),
                services.GetRequiredService<ILogger<HeadHost>>()))
            .AddSingleton<IFatalErrorHandler, FatalErrors>()
            .AddHostedService<HeadKeeper>();
        return silo;
    }

    /// <summary>Redis for membership, grain storage and reminders, under keys of the farm's namespace.</summary>
    public static ISiloBuilder UseFarmRedis(this ISiloBuilder silo, RedisOptions redis)
    {
        ArgumentNullException.ThrowIfNull(redis);
        silo.Configure<ClusterOptions>(options => Name(options, redis.Namespace));
        silo.UseRedisClustering(options => options.ConfigurationOptions = RedisConnection.Configuration(redis));
        silo.AddRedisGrainStorage(FarmStorage.Name, (OptionsBuilder<RedisStorageOptions> builder) =>
            builder.Configure<Serializer>((options, serializer) =>
            {
                options.ConfigurationOptions = RedisConnection.Configuration(redis);
                options.GrainStorageSerializer = new OrleansGrainStorageSerializer(serializer); // by [Id], as on the wire: frozen by the same tests
                options.DeleteStateOnClear = true;
            }));
        silo.UseRedisReminderService(options => options.ConfigurationOptions = RedisConnection.Configuration(redis));
        return silo;
    }

    /// <summary>One silo on this machine: membership, storage and reminders live in its memory. Jobs are in the data folder all the same.</summary>
    public static ISiloBuilder UseFarmLocalhost(this ISiloBuilder silo, int siloPort, int gatewayPort)
    {
        silo.UseLocalhostClustering(siloPort, gatewayPort);
        silo.Configure<ClusterOptions>(options => Name(options, "localhost"));
        silo.AddMemoryGrainStorage(FarmStorage.Name);
        silo.UseInMemoryReminderService();
        return silo;
    }

    /// <summary>Where a silo listens, and what it tells the others.</summary>
    public static ISiloBuilder UseFarmEndpoints(this ISiloBuilder silo, IPAddress address, int siloPort, int gatewayPort)
    {
        silo.ConfigureEndpoints(address, siloPort, gatewayPort, listenOnAnyHostAddress: false);
        return silo;
    }

    /// <summary>The cluster's names, from the farm's namespace.</summary>
    public static void Name(ClusterOptions options, string farm)
    {
        ArgumentNullException.ThrowIfNull(options);
        options.ServiceId = $"mq:{{{farm}}}:orleans"; // part of keys in Redis: beside the farm's own, on the same node of a Redis cluster
        options.ClusterId = farm;
    }

    private static void Set(ClusterMembershipOptions options, MembershipTimes times)
    {
        options.ProbeTimeout = times.Probe;
        options.MaxProbeTimeout = times.LongestProbe;
        options.NumMissedProbesLimit = times.MissedProbes;
        options.NumVotesForDeathDeclaration = times.Votes;
        options.TableRefreshTimeout = times.Table;
        options.IAmAliveTablePublishTimeout = times.Table;
        options.DefunctSiloExpiration = TimeSpan.FromHours(1);
        options.DefunctSiloCleanupPeriod = TimeSpan.FromMinutes(10);
    }
}
