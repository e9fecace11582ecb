using System.Diagnostics.CodeAnalysis;
using MetaQuery.Farm;
using StackExchange.Redis;

namespace MetaQuery.Redis;

/// <summary>Reads items out of the queue's streams, where damage or another version of the farm may have left what this one cannot read.</summary>
internal static class EntryReader
{
    /// <param name="bytes">What lies there.</param>
    /// <param name="item">The item.</param>
    /// <param name="problem">Why there is none, in one line.</param>
    public static bool TryRead(RedisValue bytes, [NotNullWhen(true)] out WorkItem? item, [NotNullWhen(false)] out string? problem)
    {
        try
        {
            item = WorkItemCodec.Read((byte[]?)bytes);
            problem = null;
            return true;
        }
        catch (WireFormatException exception)
        {
            item = null;
            problem = exception.Message;
            return false;
        }
    }
}
