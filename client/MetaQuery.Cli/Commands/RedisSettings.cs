using System.CommandLine;
using MetaQuery.Farm;
using MetaQuery.Redis;
using MetaQuery.Silo.Hosting;

namespace MetaQuery.Cli.Commands;

/// <summary>What a head and its workers must be told alike where they meet in Redis.</summary>
/// <param name="leaseTime">How long a worker may be silent where the user says nothing; null for the farm's own.</param>
internal sealed class RedisSettings(TimeSpan? leaseTime = null)
{
    private const long Mebibyte = 1 << 20;

    private readonly TimeSpan? standardLease = leaseTime;

    private readonly Option<string?> redis = new("--redis")
    {
        Description = $"Where head and workers meet; user and password come from {RedisOptions.UserVariable} and {RedisOptions.PasswordVariable}.",
        HelpName = "HOST:PORT",
    };
    private readonly Option<bool> tls = new("--redis-tls") { Description = "Speak TLS to Redis." };
    private readonly Option<string?> authority = new("--redis-ca") { Description = "PEM file of the authority that signed Redis' certificate (default: the system's).", HelpName = "FILE" };
    private readonly Option<string> name = Values.Text("--redis-namespace", "Farms of different names share a Redis.", "default", "NAME");
    private readonly Option<double?> lease = Values.Number("--lease-seconds", $"How long a worker may be silent before its work is given to others (default {leaseTime?.TotalSeconds ?? 30}).", 0.1, 3600.0);
    private readonly Option<long?> budget = Values.Number("--redis-cache-mb", "Conditions held in Redis in MiB (default 256).", 1L, 1L << 30);

    public void AddTo(Command command)
    {
        foreach (var option in (Option[])[redis, tls, authority, name, lease, budget])
        {
            command.Options.Add(option);
        }
    }

    /// <param name="dataFolder">The head's.</param>
    /// <returns>Null without <c>--redis</c>.</returns>
    /// <exception cref="RedisOptionsException">The address is none.</exception>
    public RedisFarmOptions? Read(ParseResult result, string dataFolder)
    {
        if (result.GetValue(redis) is not { } address)
        {
            return null;
        }

        var options = new RedisFarmOptions
        {
            Redis = RedisOptions.Parse(address) with
            {
                UseTls = result.GetValue(tls),
                AuthorityFile = result.GetValue(authority),
                Namespace = result.GetValue(name)!,
            },
            DataFolder = dataFolder,
        };
        return options with
        {
            LeaseTime = result.GetValue(lease) is { } seconds ? TimeSpan.FromSeconds(seconds) : standardLease ?? options.LeaseTime,
            Conditions = new RedisConditionOptions { BudgetBytes = result.GetValue(budget) * Mebibyte ?? options.Conditions.BudgetBytes },
        };
    }
}
