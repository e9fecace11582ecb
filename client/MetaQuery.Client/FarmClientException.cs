namespace MetaQuery.Client;

/// <summary>A farm's answer was an error, or there was none. The message is one line.</summary>
public class FarmClientException(string message, Exception? inner = null) : Exception(message, inner)
{
    /// <summary>Whether trying the same again may succeed.</summary>
    public virtual bool IsTransient => false;
}

/// <summary>The farm answered with an error.</summary>
public sealed class FarmApiException(int status, Error error, TimeSpan? retryAfter, string? requestId) : FarmClientException(error?.Message ?? $"status {status}")
{
    /// <summary>The HTTP status.</summary>
    public int Status { get; } = status;

    public Error Error { get; } = error!;

    /// <summary>When it is worth asking again, where the farm said it.</summary>
    public TimeSpan? RetryAfter { get; } = retryAfter;

    /// <summary>Under which the server's log has it.</summary>
    public string? RequestId { get; } = requestId;

    public override bool IsTransient => Status is 408 or 429 or 502 or 503 or 504;
}

/// <summary>The farm could not be reached, or broke off.</summary>
public sealed class FarmUnreachableException(Uri server, Exception inner) : FarmClientException($"{server}: cannot be reached: {Reason(inner)}", inner)
{
    public override bool IsTransient => true;

    private static string Reason(Exception inner) => (inner.GetBaseException().Message is { Length: > 0 } said ? said : inner.Message).Split('\n')[0];
}

/// <summary>Something answers at the address, but not in a farm's way: another program's server, or a proxy that lets nothing through.</summary>
public sealed class NotAFarmException(Uri server, string answer, Exception? inner = null) : FarmClientException($"{server} answers, but is no MetaQuery.Farm ({answer})", inner);

/// <summary>What was downloaded is not what the farm has.</summary>
public sealed class FarmDownloadException(string message) : FarmClientException(message)
{
    public override bool IsTransient => true;
}
