using System.Security.Cryptography;
using MetaQuery.Farm;
using StackExchange.Redis;

namespace MetaQuery.Redis;

/// <summary>One process of the farm at a time makes a condition: whoever sets the key <c>f:KEY</c> first, for a limited time.</summary>
/// <param name="connection">To Redis.</param>
/// <param name="longest">After this another may take the right: its holder is taken for dead.</param>
/// <param name="renewFor">How long a living holder's right is renewed: as long as its pass may take. Null for not at all: then no pass may take longer than <paramref name="longest"/>.</param>
public sealed class RedisFlightBoard(RedisConnection connection, TimeSpan? longest = null, TimeSpan? renewFor = null) : IFlightBoard
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
        return holder.IsNull || (string?)holder == token ? new Right(connection, flight, token, _longest, renewFor ?? TimeSpan.Zero) : null;
    }

    private sealed class Right : IDisposable
    {
        private readonly RedisConnection _connection;
        private readonly RedisKey _flight;
        private readonly string _token;
        private readonly TimeSpan _longest;
        private readonly TimeSpan _renewFor;
        private readonly long _start = TimeProvider.System.GetTimestamp();
        private readonly Timer? _renewal;
        private int _isGivenBack;

        public Right(RedisConnection connection, RedisKey flight, string token, TimeSpan longest, TimeSpan renewFor)
        {
            (_connection, _flight, _token, _longest, _renewFor) = (connection, flight, token, longest, renewFor);
            _renewal = renewFor > TimeSpan.Zero ? new Timer(_ => Renew(), null, longest / 3, longest / 3) : null;
        }

        public void Dispose()
        {
            if (Interlocked.Exchange(ref _isGivenBack, 1) == 0)
            {
                _renewal?.Dispose();
                // nobody can do anything about a failure, and the right runs out by itself
                _ = _connection.Database.ScriptEvaluateAsync(LuaScripts.FlightEnd, [_flight], [_token], CommandFlags.FireAndForget);
            }
        }

        // a renewal that fails is made up for by the next one; a pass that hangs for ever keeps nobody else from making the condition
        private void Renew()
        {
            if (TimeProvider.System.GetElapsedTime(_start) >= _renewFor)
            {
                return;
            }

            try
            {
                RedisValue[] values = [_token, (long)_longest.TotalMilliseconds];
                _ = _connection.Database.ScriptEvaluateAsync(LuaScripts.FlightRenew, [_flight], values, CommandFlags.FireAndForget);
            }
            catch (Exception exception) when (exception is RedisException or ObjectDisposedException)
            {
                // as with one whose answer never comes; nobody waits on a timer's thread
            }
        }
    }
}
