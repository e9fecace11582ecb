using System.Net;
using MetaQuery.Farm;
using MetaQuery.Silo;
using MetaQuery.Silo.Hosting;

namespace MetaQuery.Orleans;

/// <summary>How <c>./farm silo</c> runs.</summary>
public sealed record SiloOptions
{
    public const int DefaultSiloPort = 11111;
    public const int DefaultGatewayPort = 30000;

    /// <summary>Model, slots, data folder, web: as for <c>./farm serve</c>.</summary>
    public required ServeOptions Serve { get; init; }

    /// <summary>Where silos meet; null for localhost clustering: one silo, which keeps its grains' state in memory and its jobs in the data folder.</summary>
    public RedisFarmOptions? Redis { get; init; }

    public SiloRoles Roles { get; init; } = SiloRoles.All;

    /// <summary><c>cpu</c> or <c>cuda:0</c>, of all its slots.</summary>
    public string Device { get; init; } = LocalModel.Cpu;

    /// <summary>The address that other silos reach it at; it listens there alone.</summary>
    public IPAddress Address { get; init; } = IPAddress.Loopback;

    /// <summary>0 for a free one.</summary>
    public int SiloPort { get; init; } = DefaultSiloPort;

    /// <summary>Where Orleans' clients come in; 0 for a free one.</summary>
    public int GatewayPort { get; init; } = DefaultGatewayPort;

    public MembershipTimes Membership { get; init; } = new();

    /// <summary>Called at once where the others declare this silo dead, since they have its work by then: the command ends its process.</summary>
    public Action<Exception>? OnDeath { get; init; }

    /// <summary>For tests: the silo's parts, before it starts.</summary>
    internal Action<IServiceProvider>? Built { get; init; }

    internal WorkRoles WorkRoles =>
        (Roles.HasFlag(SiloRoles.Mllm) ? WorkRoles.Mllm : WorkRoles.None) | (Roles.HasFlag(SiloRoles.Dit) ? WorkRoles.Dit : WorkRoles.None);

    /// <summary>Slots that it begins with; none where it has no role that needs them.</summary>
    internal int Slots => WorkRoles == WorkRoles.None ? 0 : Serve.Slots;

    internal bool IsHead => Roles.HasFlag(SiloRoles.Head);
}

/// <summary>When a silent silo counts as dead. docs/orleans.md has the argument for each.</summary>
public sealed record MembershipTimes
{
    /// <summary>Between two probes of a neighbour, and the longest wait for its answer.</summary>
    public TimeSpan Probe { get; init; } = TimeSpan.FromSeconds(2);

    /// <summary>Longest that a slow neighbour's answers may stretch it to.</summary>
    public TimeSpan LongestProbe { get; init; } = TimeSpan.FromSeconds(3);

    /// <summary>Probes in a row that must go unanswered before a silo is suspected.</summary>
    public int MissedProbes { get; init; } = 3;

    /// <summary>Silos that must suspect it; fewer where fewer are there.</summary>
    public int Votes { get; init; } = 2;

    /// <summary>Between two reads of the table, for what gossip missed; and between two entries that say "I live".</summary>
    public TimeSpan Table { get; init; } = TimeSpan.FromSeconds(5);

    /// <summary>Between two calls by which each silo makes sure that a head runs.</summary>
    public TimeSpan HeadLook { get; init; } = TimeSpan.FromSeconds(1);

    /// <summary>Between two reminders of a job: a minute is the shortest that Orleans' tables are made for.</summary>
    public TimeSpan Reminder { get; init; } = TimeSpan.FromMinutes(1);
}
