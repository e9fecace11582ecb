using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;

namespace MetaQuery.Redis;

/// <summary>Times and places of the queue; head and workers must be given the same.</summary>
public sealed record RedisQueueOptions
{
    /// <summary>The folder that head and workers share for finished samples, in the head's data folder.</summary>
    public required string InboxFolder { get; init; }

    /// <summary>How long a lease lasts without a heartbeat.</summary>
    public TimeSpan LeaseTime { get; init; } = TimeSpan.FromSeconds(30);

    /// <summary>How often a waiter looks by itself, for a wake-up can be lost with its connection.</summary>
    public TimeSpan PollTime { get; init; } = TimeSpan.FromSeconds(1);

    /// <summary>How long a step that may be repeated is repeated while Redis cannot be reached.</summary>
    public TimeSpan Patience { get; init; } = TimeSpan.FromSeconds(15);

    /// <summary>Where it is said what could not be read.</summary>
    public ILogger Log { get; init; } = NullLogger.Instance;

    /// <summary>How long Redis keeps the answer of a step for those repeats.</summary>
    internal TimeSpan AnswerTime => Patience + TimeSpan.FromSeconds(45);
}
