using System.Net.Sockets;
using MetaQuery.Farm;
using MetaQuery.Redis;
using Orleans.Runtime;
using StackExchange.Redis;

namespace MetaQuery.Orleans;

/// <summary>Calls into the cluster from outside of grains: repeated while what is in the way may pass, and failing with the farm's own exceptions.</summary>
/// <remarks>Every call may be made twice: a time-out or a lost silo says nothing about whether it was carried out.</remarks>
internal static class ClusterCalls
{
    /// <summary>Longer than a fail-over takes.</summary>
    public static readonly TimeSpan Patience = TimeSpan.FromSeconds(25);

    private const int LongestLine = 200;

    private static readonly TimeSpan FirstPause = TimeSpan.FromMilliseconds(50);
    private static readonly TimeSpan LongestPause = TimeSpan.FromMilliseconds(500);

    /// <exception cref="FarmException">What the farm answers, or <see cref="ClusterException"/> where nobody answered in time.</exception>
    public static async Task<T> RepeatAsync<T>(Func<Task<T>> call, CancellationToken cancellationToken, TimeSpan? patience = null)
    {
        long start = TimeProvider.System.GetTimestamp();
        for (TimeSpan pause = FirstPause; ; pause = pause * 2 < LongestPause ? pause * 2 : LongestPause)
        {
            try
            {
                return await call().WaitAsync(cancellationToken);
            }
            catch (Exception exception) when (MayPass(exception) && TimeProvider.System.GetElapsedTime(start) < (patience ?? Patience))
            {
                await Task.Delay(pause, cancellationToken);
            }
            catch (Exception exception) when (MayPass(exception) || exception is GrainFaultException)
            {
                throw ToFarm(exception);
            }
        }
    }

    /// <summary>Whether the same call may succeed a moment later.</summary>
    public static bool MayPass(Exception exception) => exception is GrainFaultException { Fault: GrainFault.Unavailable }
        or TimeoutException or OrleansException or EnumerationAbortedException or SocketException or IOException or ObjectDisposedException
        || RedisFailure.IsRedis(exception) || (exception is not GrainFaultException && exception.InnerException is { } inner && MayPass(inner)); // a grain's state could not be read

    public static Exception ToFarm(Exception exception) => exception is GrainFaultException fault
        ? fault.ToFarmException()
        : new ClusterException($"the cluster does not answer: {Describe(exception)}", isTransient: true, exception);

    /// <summary>What a failure of Orleans means to a user, in a line: its own messages hold stack traces and names of keys.</summary>
    public static string Describe(Exception exception)
    {
        for (Exception? at = exception; at is not null; at = at.InnerException)
        {
            if (at is RedisException || at.Message.Contains("storage provider", StringComparison.OrdinalIgnoreCase)) // of another silo only the words come
            {
                return "redis cannot be reached, or takes nothing; it must run, and be seen from every silo";
            }
        }

        string line = exception.Message.ReplaceLineEndings(" ");
        return line.Length <= LongestLine ? line : line[..LongestLine] + "...";
    }
}
