using System.CommandLine;
using MetaQuery.Client;

namespace MetaQuery.Cli.Commands;

/// <summary>Which farm a command speaks to, and how it answers.</summary>
internal sealed class ServerOptions
{
    public const string ServerVariable = "METAQUERY_SERVER";
    public const string KeyVariable = "METAQUERY_API_KEY";
    private const string Standard = "http://127.0.0.1:8080";

    private readonly Option<string?> server = new("--server") { Description = $"The farm's address (default: {ServerVariable}, else {Standard}); the key comes from {KeyVariable}.", HelpName = "URL" };
    private readonly Option<bool> json = new("--json") { Description = "Answer as the API does: JSON on stdout." };

    public ServerOptions(Command command)
    {
        command.Options.Add(server);
        command.Options.Add(json);
    }

    /// <summary>The command that watches a job where this one does.</summary>
    public string WatchCommand(ParseResult result, string id) => $"./farm job watch {id}{(result.GetValue(server) is { } address ? $" --server {address}" : "")}";

    /// <summary>An answer about one of a farm's parts: where there is none of that id, the command that lists them is named, not the API's address.</summary>
    /// <param name="kind">silo or worker: also the command's name.</param>
    /// <exception cref="UsageException">There is none.</exception>
    public static async Task<T> KnownAsync<T>(Task<T> answer, string kind, string id)
    {
        try
        {
            return await answer;
        }
        catch (FarmApiException refused) when (refused.Status == 404)
        {
            throw new UsageException($"there is no {kind} {id}; ./farm {kind} list shows what there is");
        }
    }

    public bool IsJson(ParseResult result) => result.GetValue(json);

    /// <exception cref="UsageException">The address is none.</exception>
    public FarmClient Connect(ParseResult result)
    {
        var address = result.GetValue(server) ?? (Environment.GetEnvironmentVariable(ServerVariable) is { Length: > 0 } named ? named : Standard);
        return Uri.TryCreate(address, UriKind.Absolute, out var uri) && uri.Scheme is "http" or "https"
            ? new FarmClient(uri, Environment.GetEnvironmentVariable(KeyVariable) is { Length: > 0 } key ? key : null)
            : throw new UsageException($"--server {address}: must be an address such as {Standard}");
    }
}
