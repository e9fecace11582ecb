using MetaQuery.Data;

namespace MetaQuery.Farm;

/// <summary>Failures that a worker waits out: nothing is wrong with the work, it cannot be handed on just now.</summary>
internal static class Outage
{
    /// <summary>A queue or a tier that cannot be reached; also a disk that takes nothing, unless that is to end the worker.</summary>
    public static bool IsOne(Exception exception, WorkerOptions options) =>
        exception is FarmException { IsTransient: true } || (exception is StorageException && !options.EndsOnStorageFault);

    /// <summary>Waits that grow to a sixth of the lease time: within it there is still time to renew.</summary>
    public static Backoff Backoff(WorkerOptions options) => new(options.LeaseTime / 6, options.Clock);

    /// <summary>What a failure says, in one line.</summary>
    public static string OneLine(Exception exception) => $"{exception.GetType().Name}: {exception.Message.ReplaceLineEndings(" ")}";
}
