using Microsoft.Extensions.Logging;

namespace MetaQuery.Farm;

/// <summary>What the head, and a worker, tells an operator. Event ids and the names in braces are what log queries go by: append-only.</summary>
internal static partial class FarmLog
{
    [LoggerMessage(1, LogLevel.Information, "the head has started with {Jobs} jobs, {Unfinished} of them unfinished")]
    public static partial void HeadStarted(this ILogger log, int jobs, int unfinished);

    [LoggerMessage(2, LogLevel.Warning, "the journal's last {Bytes} bytes were torn by a crash and are cut off: they were never promised")]
    public static partial void JournalCut(this ILogger log, long bytes);

    [LoggerMessage(3, LogLevel.Information, "job {JobId} of {Tenant} is {State}, it was {Before}: {Written} of {Images} images written, {Failed} failed; {Reason}")]
    public static partial void JobChanged(
        this ILogger log, string jobId, string tenant, string state, string before, long written, long images, long failed, string reason);

    [LoggerMessage(4, LogLevel.Information, "job {JobId} of {Tenant} is deleted: {Reason}")]
    public static partial void JobDeleted(this ILogger log, string jobId, string tenant, string reason);

    [LoggerMessage(5, LogLevel.Information, "worker {Worker} has joined: {Roles}, {Slots} slots on {Device}, lane {Lane}")]
    public static partial void WorkerJoined(this ILogger log, string worker, WorkRoles roles, int slots, string device, string lane);

    [LoggerMessage(6, LogLevel.Information, "worker {Worker} is gone: it left, or was not heard of for a lease's time")]
    public static partial void WorkerGone(this ILogger log, string worker);

    [LoggerMessage(7, LogLevel.Warning, "item {Item} is given up: {Reason}")]
    public static partial void ItemGivenUp(this ILogger log, string item, string reason);

    [LoggerMessage(8, LogLevel.Warning, "{Items} items were taken back from holders that died")]
    public static partial void ItemsReclaimed(this ILogger log, int items);

    [LoggerMessage(9, LogLevel.Warning, "the disk takes nothing, work waits for it: {Reason}")]
    public static partial void DiskRefuses(this ILogger log, string reason);

    [LoggerMessage(10, LogLevel.Information, "the disk takes everything again")]
    public static partial void DiskTakesAgain(this ILogger log);

    [LoggerMessage(11, LogLevel.Warning, "the queue cannot be reached, work waits for it: {Reason}")]
    public static partial void QueueAway(this ILogger log, string reason);

    [LoggerMessage(12, LogLevel.Information, "the queue is back")]
    public static partial void QueueBack(this ILogger log);

    [LoggerMessage(13, LogLevel.Warning, "the queue has lost what it held: everything that was out is fed again")]
    public static partial void QueueLostItems(this ILogger log);

    [LoggerMessage(14, LogLevel.Warning, "job {JobId}: {Records} records of its spool were damaged since they were written; their images are made again")]
    public static partial void RecordsDamaged(this ILogger log, string jobId, int records);

    [LoggerMessage(15, LogLevel.Error, "the head has met an error of its own and does nothing more")]
    public static partial void HeadBroken(this ILogger log, Exception exception);

    [LoggerMessage(16, LogLevel.Warning, "the folder of pictures has given nothing for {Time}: prompts that need it are given back for other workers, and none are taken for as long again")]
    public static partial void PicturesAway(this ILogger log, TimeSpan time);

    [LoggerMessage(17, LogLevel.Warning, "this worker's last {Batches} batches for {Role} failed, while others in its lane say of no trouble: theirs are its items now, and it takes none for {Time}; the last error: {Reason}")]
    public static partial void WorkerFails(this ILogger log, int batches, WorkRoles role, TimeSpan time, string reason);
}
