using System.Globalization;
using System.Text.RegularExpressions;
using MetaQuery.Farm;

namespace MetaQuery.Redis;

/// <summary>Where Redis is and how to speak to it.</summary>
public sealed partial record RedisOptions
{
    public const string UserVariable = "METAQUERY_REDIS_USER";
    public const string PasswordVariable = "METAQUERY_REDIS_PASSWORD";
    private const int DefaultPort = 6379;

    public required string Host { get; init; }
    public int Port { get; init; } = DefaultPort;

    /// <summary>Null for Redis' own <c>default</c> user.</summary>
    public string? User { get; init; }

    /// <summary>Null where Redis asks for none.</summary>
    public string? Password { get; init; }

    public bool UseTls { get; init; }

    /// <summary>PEM file of the authority that signed the server's certificate; null for the system's authorities.</summary>
    public string? AuthorityFile { get; init; }

    /// <summary>Farms of different names share a server and see nothing of each other.</summary>
    public string Namespace { get; init; } = "default";

    /// <summary>Longest time to wait for the first connection.</summary>
    public TimeSpan ConnectPatience { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>Longest time to wait for one answer.</summary>
    public TimeSpan CommandTimeout { get; init; } = TimeSpan.FromSeconds(5);

    /// <summary>For messages: host and port, never the password.</summary>
    public string Address => Host.Contains(':', StringComparison.Ordinal) ? $"[{Host}]:{Port}" : $"{Host}:{Port}";

    /// <summary>Reads <c>HOST:PORT</c>, <c>HOST</c> or <c>[ADDRESS]:PORT</c>, with user and password from the environment where it has them.</summary>
    /// <exception cref="RedisOptionsException">It is none of these.</exception>
    public static RedisOptions Parse(string address)
    {
        ArgumentNullException.ThrowIfNull(address);
        Match match = AddressPattern().Match(address);
        int port = DefaultPort;
        if (!match.Success
            || (match.Groups["port"].Success
                && (!int.TryParse(match.Groups["port"].Value, NumberStyles.None, CultureInfo.InvariantCulture, out port) || port is < 1 or > 65535)))
        {
            throw new RedisOptionsException($"redis address {address} is not HOST:PORT, such as 127.0.0.1:{DefaultPort}");
        }

        return new RedisOptions
        {
            Host = match.Groups["host"].Value,
            Port = port,
            User = Variable(UserVariable),
            Password = Variable(PasswordVariable),
        };
    }

    /// <exception cref="RedisOptionsException">A value is out of range.</exception>
    internal void Check()
    {
        if (!NamespacePattern().IsMatch(Namespace))
        {
            throw new RedisOptionsException($"redis namespace {Namespace} is not 1 to 64 letters, digits, dots, dashes or underscores");
        }

        if (AuthorityFile is not null && (!UseTls || !File.Exists(AuthorityFile)))
        {
            throw new RedisOptionsException(UseTls ? $"{AuthorityFile}: there is no such file of the authority for TLS" : "a TLS authority's file is named, but TLS is not switched on");
        }

        if (User is not null && Password is null)
        {
            throw new RedisOptionsException($"redis user {User} has no password: set {PasswordVariable}");
        }
    }

    private static string? Variable(string name) => Environment.GetEnvironmentVariable(name) is { Length: > 0 } value ? value : null;

    [GeneratedRegex(@"^(\[(?<host>[0-9A-Fa-f:.]+)\]|(?<host>[A-Za-z0-9_.\-]+))(:(?<port>\d+))?$", RegexOptions.ExplicitCapture, matchTimeoutMilliseconds: 1000)]
    private static partial Regex AddressPattern();

    [GeneratedRegex(@"^[A-Za-z0-9._\-]{1,64}$", RegexOptions.ExplicitCapture, matchTimeoutMilliseconds: 1000)]
    private static partial Regex NamespacePattern();
}

/// <summary>How Redis is to be reached is stated wrongly.</summary>
public sealed class RedisOptionsException(string message) : FarmException(message)
{
    public override int ExitCode => ExitCodes.InvalidInput;
}

/// <summary>Redis was reached and refuses: password, permission, version or configuration. A person must change something.</summary>
public sealed class RedisRefusedException(string message, Exception? inner = null) : FarmException(message, inner)
{
    public override int ExitCode => ExitCodes.Unreachable;
}

/// <summary>Another head has taken the namespace over: this one must stop.</summary>
public sealed class RedisHeadReplacedException(string message) : FarmException(message)
{
    public override int ExitCode => ExitCodes.OutFolderTaken;
}
