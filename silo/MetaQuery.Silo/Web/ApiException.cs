using MetaQuery.Client;

namespace MetaQuery.Silo.Web;

/// <summary>An answer that is an error, in OpenAI's shape.</summary>
internal sealed class ApiException(int status, string message, string? param = null, string? code = null, string? type = null, TimeSpan? retryAfter = null) : Exception(OneLine(message))
{
    private static readonly char[] Breaks = [.. Enumerable.Range(0, 0xA0).Select(code => (char)code).Where(char.IsControl), '\u2028', '\u2029'];

    public int Status { get; } = status;
    public TimeSpan? RetryAfter { get; } = retryAfter;

    public ErrorResponse Body { get; } = new(new Error(OneLine(message), type ?? TypeOf(status), param, code));

    public bool IsTransient => Status is 429 or 503;

    /// <summary>A field, parameter or header is wrong.</summary>
    public static ApiException Invalid(string param, string message, string code = "invalid_value") => new(400, message, param, code);

    public static ApiException NotFound(string message, string? param = null) => new(404, message, param, "not_found");

    /// <summary>A message as a log or a terminal can take it, whatever a request's path or another's exception brought into it.</summary>
    public static string OneLine(string text) => string.Join(' ', text.Split(Breaks, StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries));

    // OpenAI's names: its clients choose their exception by the status, people read the type
    private static string TypeOf(int status) => status switch
    {
        401 => "authentication_error",
        403 => "permission_error",
        429 => "rate_limit_error",
        >= 500 => "server_error",
        _ => "invalid_request_error",
    };
}
