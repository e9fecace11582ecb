using System.Security.Cryptography;
using MetaQuery.Farm;
using StackExchange.Redis;

namespace MetaQuery.Redis;

/// <summary>One process of the farm at a time makes a condition: whoever sets the key <c>f:KEY</c> first, for a limited time.</summary>
/// <param name="connection">To Redis.</param>
/// <param name="longest">After this another may take the right: its holder is taken for dead. Longer than any pass.</param>
public sealed class RedisFlightBoard(RedisConnection connection, TimeSpan? longest = null) : IFlightBoard
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(15);
    private readonly TimeSpan _longest = longest ?? TimeSpan.FromMinutes(2);

    /// <exception cref="WorkQueueException">Redis cannot be reached.</exception>
    public IDisposable? TryTake(ConditionKey key)
    {
        RedisKey flight = connection.Keys.Flight(key);
        string token = Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(12));
        object[] words = [flight, token, "NX", "GET", "PX", (long)_longest.TotalMilliseconds];
        RedisResult holder = connection.Repeat(database => database.Execute("SET", words), Patience);
        // our own token: it was set before, and the answer got lost
        return holder.IsNull || (string?)holder == token ? new Right(connection, flight, token) : null;
    }

    private sealed class Right(RedisConnection connection, RedisKey flight, string token) : IDisposable
    {
        private int _isGivenBack;

        public void Dispose()
        {
            if (Interlocked.Exchange(ref _isGivenBack, 1) == 0)
            {
                // nobody can do anything about a failure, and the right runs out by itself
                _ = connection.Database.ScriptEvaluateAsync(LuaScripts.FlightEnd, [flight], [token], CommandFlags.FireAndForget);
            }
        }
    }
}
