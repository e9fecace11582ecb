using Microsoft.Extensions.Logging;

namespace MetaQuery.Redis;

/// <summary>What the queue over Redis says in the log of its process.</summary>
internal static partial class QueueLog
{
    [LoggerMessage(1, LogLevel.Warning, "{Items} items in Redis are given back for a worker that can read them, and this one takes nothing for {Rest}: {Problem}")]
    public static partial void ItemsGivenBack(this ILogger log, int items, TimeSpan rest, string problem);

    [LoggerMessage(2, LogLevel.Warning, "an item in Redis is passed over: {Problem}")]
    public static partial void ItemPassedOver(this ILogger log, string problem);

    [LoggerMessage(3, LogLevel.Warning, "worker {Worker}'s report on {Item} counts as the item given back: {Problem}")]
    public static partial void OutcomePassedOver(this ILogger log, string worker, string item, string problem);

    [LoggerMessage(4, LogLevel.Warning, "worker {Worker}'s report is dropped, and all that is out is fed again: {Problem}")]
    public static partial void ReportDropped(this ILogger log, string worker, string problem);
}
