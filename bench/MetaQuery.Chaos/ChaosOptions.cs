namespace MetaQuery.Chaos;

/// <summary>What is run, and how long its faults are.</summary>
internal sealed record ChaosOptions
{
    /// <summary>After so long without a word a silo is dead to the others (docs/orleans.md, "Why these times").</summary>
    private static readonly TimeSpan SiloDeath = TimeSpan.FromSeconds(9);

    /// <summary>Faults of one run.</summary>
    public required int Faults { get; init; }

    public required int Seed { get; init; }

    /// <summary>Only faults of these kinds; null for all.</summary>
    public IReadOnlyList<FaultKind>? Kinds { get; init; }

    /// <summary>A model folder or name.</summary>
    public string Model { get; init; } = "nano";

    /// <summary>Silos of a cluster, each with all roles; 0 for a head with two workers.</summary>
    public int Silos { get; init; }

    /// <summary>A lease without a heartbeat: short, so that many faults go beyond it.</summary>
    public TimeSpan Lease { get; init; } = TimeSpan.FromSeconds(3);

    /// <summary>Prompts of each of the two jobs, two images each.</summary>
    public int Prompts { get; init; } = 12;

    /// <summary>Denoising steps: how long a batch is in flight.</summary>
    public int Steps { get; init; } = 20;

    /// <summary>Of the disk that is filled up.</summary>
    public int DiskMebibytes { get; init; } = 192;

    /// <summary>Longest time from a fault's end to the next image, and from the last fault to the end of all jobs.</summary>
    public TimeSpan Patience { get; init; } = TimeSpan.FromMinutes(3);

    /// <summary>Longest time from the end of all jobs until nothing of them is left in Redis and in the inbox: of a cluster, longer than two of the minutely reminders that take away what a head that died did not: the first may only follow the head.</summary>
    public TimeSpan Tidying => Silos > 0 ? (Lease * 10) + TimeSpan.FromMinutes(2) : Lease * 10;

    /// <summary>Pauses and silences: beyond the lease by a tenth to its whole length.</summary>
    public TimeSpan BeyondLease(double share) => Lease * (1.1 + (0.9 * share));

    /// <summary>Pauses of a process: of a silo up to twice the time after which the others hold it for dead, so that some wake up in a cluster that has gone on without them.</summary>
    public TimeSpan OfPause(double share) => Silos > 0 ? BeyondLease(0) + (SiloDeath * 2 * share) : BeyondLease(share);

    /// <summary>How long a disk stays full or slow.</summary>
    public TimeSpan OfDisk(double share) => TimeSpan.FromSeconds(1 + (3 * share));
}
