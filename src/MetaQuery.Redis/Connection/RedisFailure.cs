using System.Security.Authentication;
using MetaQuery.Farm;
using StackExchange.Redis;

namespace MetaQuery.Redis;

/// <summary>Redis' failures as the farm names them: one line, and whether trying again may help.</summary>
internal static class RedisFailure
{
    // the server says these of itself, not of the command: it starts, fails over, runs a long script or is full for now
    private static readonly string[] PassingErrors = ["LOADING", "BUSY", "MASTERDOWN", "READONLY", "CLUSTERDOWN", "TRYAGAIN", "NOREPLICAS", "MISCONF", "OOM"];

    public static bool IsRedis(Exception exception) => exception is RedisException or TimeoutException or ObjectDisposedException;

    public static FarmException Name(Exception exception, RedisOptions options)
    {
        string where = $"redis at {options.Address}";
        return exception switch
        {
            RedisServerException server => OfServer(server, where),
            RedisConnectionException when Has(exception, inner => inner is AuthenticationException) => new RedisRefusedException(
                $"{where} shows a certificate for TLS that no authority known here has signed for this name; name its authority's file", exception),
            RedisConnectionException when IsRefusal(exception) => new RedisRefusedException(
                $"{where} refuses {(options.User is { } user ? $"user {user}" : "this client")}: "
                + (options.Password is null ? $"it wants a password, set {RedisOptions.PasswordVariable}" : "user or password is wrong"),
                exception),
            TimeoutException => new WorkQueueException($"{where} gives no answer within {options.CommandTimeout.TotalSeconds:0.###} s", exception),
            ObjectDisposedException => new WorkQueueException($"{where}: the connection was closed by this process", exception),
            RedisConnectionException connection => new WorkQueueException($"{where} cannot be reached ({Cause(connection)}); it must run, and be seen from here", exception),
            _ => new WorkQueueException($"{where}: {OneLine(exception.Message)}", exception),
        };
    }

    private static FarmException OfServer(RedisServerException exception, string where)
    {
        string message = OneLine(exception.Message);
        if (message.StartsWith("OOM", StringComparison.Ordinal))
        {
            return new WorkQueueException($"{where} is full: raise its maxmemory, or lower the farm's budget for conditions", exception);
        }

        return PassingErrors.Any(error => message.StartsWith(error, StringComparison.Ordinal))
            ? new WorkQueueException($"{where} cannot serve now: {message}", exception)
            : new RedisRefusedException($"{where} refuses: {message}", exception);
    }

    /// <summary>Whether the server was reached and would not have this client.</summary>
    public static bool IsRefusal(Exception? exception) => Has(exception, static inner =>
        inner is RedisConnectionException { FailureType: ConnectionFailureType.AuthenticationFailure } or AuthenticationException
        || inner.Message.Contains("NOAUTH", StringComparison.Ordinal) || inner.Message.Contains("WRONGPASS", StringComparison.Ordinal));

    private static bool Has(Exception? exception, Predicate<Exception> wanted)
    {
        for (Exception? at = exception; at is not null; at = at.InnerException)
        {
            if (wanted(at))
            {
                return true;
            }
        }

        return false;
    }

    private static string Cause(RedisConnectionException exception)
    {
        Exception innermost = exception;
        while (innermost.InnerException is { } inner)
        {
            innermost = inner;
        }

        return innermost is RedisConnectionException ? exception.FailureType.ToString() : OneLine(innermost.Message);
    }

    private static string OneLine(string message) => message.ReplaceLineEndings(" ").Trim();
}
