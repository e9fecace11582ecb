using System.Globalization;
using System.Text.RegularExpressions;
using MetaQuery.TestKit;

namespace MetaQuery.Chaos;

/// <summary>What lies in Redis, seen from outside, on connections of its own: what is in flight, and what should not be there at the end.</summary>
internal sealed partial class RedisView(RealRedis redis)
{
    private const string Prefix = "mq:{default}:";
    private const string HeadConsumer = "#head";

    /// <summary>Items that workers hold.</summary>
    /// <param name="process">Of this process only; null for all.</param>
    public long CountInFlight(int? process)
    {
        long count = 0;
        foreach (var stream in Streams())
        {
            if (Pending(stream) is object?[] { Length: 4 } summary && summary[3] is object?[] consumers)
            {
                foreach (var consumer in consumers.Cast<object?[]>())
                {
                    var (name, pending) = ((string)consumer[0]!, long.Parse((string)consumer[1]!, CultureInfo.InvariantCulture));
                    count += name != HeadConsumer && (process is null || ProcessOf(name) == process) ? pending : 0;
                }
            }
        }

        return count;
    }

    /// <summary>Keys, entries and leases that nothing will ever take away, by name; none when every job has ended and nothing was forgotten.</summary>
    /// <param name="living">Processes that are workers of the farm.</param>
    public IReadOnlyList<string> FindOrphans(IReadOnlyCollection<int> living)
    {
        var found = new List<string>();
        foreach (var key in redis.Keys(Prefix + "*"))
        {
            var name = key[Prefix.Length..];
            var expires = (long)redis.Command("PTTL", key)! > 0;
            switch (name.Split(':')[0])
            {
                case "q" or "alone" or "reports":
                    if ((long)redis.Command("XLEN", key)! is > 0 and var length)
                    {
                        found.Add($"{name}: {length} entries");
                    }

                    break;
                case "worker" when !expires && ProcessOf(name) is { } process && !living.Contains(process):
                    found.Add($"{name}: of a worker that is dead, and does not expire");
                    break;
                case "f" or "answer" or "wake" when !expires:
                    found.Add($"{name}: does not expire");
                    break;
                case var state when state.StartsWith("orleans/state/job/", StringComparison.Ordinal):
                    found.Add($"{name}: a ticket of a job that has ended");
                    break;
                case "orleans/reminders" when (long)redis.Command("ZCARD", key)! is > 0 and var reminders:
                    found.Add($"{name}: {reminders} reminders of jobs that have ended");
                    break;
                case var members when members.StartsWith("orleans/", StringComparison.Ordinal):
                    break;
                case "f" or "answer" or "wake" or "worker" or "workers" or "c" or "conditions" or "run" or "queues" or "model" or "folder":
                    break;
                default:
                    found.Add($"{name}: nobody's");
                    break;
            }
        }

        if (CountInFlight(process: null) is > 0 and var held)
        {
            found.Add($"{held} items are leased");
        }

        return found;
    }

    /// <returns>Null where the stream has gone since it was listed: a head that starts empties the one before's.</returns>
    private object? Pending(string stream)
    {
        try
        {
            return redis.Command("XPENDING", stream, "w");
        }
        catch (RedisReplyException gone) when (gone.Message.StartsWith("NOGROUP", StringComparison.Ordinal))
        {
            return null;
        }
    }

    private string[] Streams() => [.. redis.Keys(Prefix + "q:*"), .. redis.Keys(Prefix + "alone:*")];

    private static int? ProcessOf(string worker) => WorkerName().Match(worker) is { Success: true } match
        ? int.Parse(match.Groups["process"].ValueSpan, CultureInfo.InvariantCulture)
        : null;

    [GeneratedRegex("-(?<process>[0-9]+)-[a-z]+$", RegexOptions.ExplicitCapture, matchTimeoutMilliseconds: 1000)]
    private static partial Regex WorkerName();
}
