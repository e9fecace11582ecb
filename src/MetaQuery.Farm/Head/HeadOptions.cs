using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;

namespace MetaQuery.Farm;

/// <summary>How a head is run.</summary>
public sealed record HeadOptions
{
    /// <summary>Holds the journal, every job's prompts and outputs: data, not a cache.</summary>
    public required string DataFolder { get; init; }

    /// <summary>What tenants are entitled to.</summary>
    public ITenantDirectory Tenants { get; init; } = new OpenTenants();

    /// <summary>Images of all tenants that may be queued at a time: beyond it a submission is refused with a time to come again.</summary>
    public long MaxQueuedImages { get; init; } = 100_000_000;

    /// <summary>Jobs that may be unfinished at a time.</summary>
    public int MaxUnfinishedJobs { get; init; } = 10_000;

    /// <summary>Jobs that are worked on at a time: each holds some open files and up to a few MB.</summary>
    public int MaxOpenJobs { get; init; } = 128;

    /// <summary>How long a finished data set is kept; null for ever.</summary>
    public TimeSpan? KeepDataSets { get; init; }

    /// <summary>How long the answer to a single web request is kept.</summary>
    public TimeSpan KeepRequests { get; init; } = TimeSpan.FromHours(1);

    /// <summary>The head's own looks at workers, deadlines, dead holders and free space.</summary>
    public TimeSpan LookEvery { get; init; } = TimeSpan.FromSeconds(1);

    /// <summary>Seconds of work that lie in a lane's queue beyond what slots hold.</summary>
    public TimeSpan FeedAhead { get; init; } = TimeSpan.FromSeconds(2);

    /// <summary>Shortest time between two progress events of a job.</summary>
    public TimeSpan EventsEvery { get; init; } = TimeSpan.FromMilliseconds(100);

    /// <summary>Items given up for one reason, without a single success, after which the job is failed rather than tried to its end.</summary>
    public int HopelessAfter { get; init; } = 50;

    /// <summary>Pictures on a job's contact sheet, at most.</summary>
    public int ContactSheetImages { get; init; } = 48;

    public TimeProvider Clock { get; init; } = TimeProvider.System;

    /// <summary>Told what an operator should know: jobs begun and ended, workers come and gone, what was given up, disk and queue away and back.</summary>
    public ILogger Log { get; init; } = NullLogger.Instance;
}
