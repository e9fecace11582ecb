using System.CommandLine;
using MetaQuery.Cli.Output;
using MetaQuery.Farm;
using MetaQuery.Silo.Web;

namespace MetaQuery.Cli.Commands;

/// <summary><c>keys</c>: who may use a farm. Works on the data folder, also while the server runs: it takes changes within a second.</summary>
internal static class KeysCommand
{
    public static Command Create() => new("keys", "API keys of a farm's server; once there is one, everybody needs one.") { CreateAdd(), CreateList(), CreateRevoke() };

    internal static Option<double?> Weight() => Values.Number("--weight", "The tenant's share of the slots beside others (default 1).", 0.01, 1000.0);

    internal static Option<long?> QueuedImages() => Values.Number("--max-queued-images", "Images that the tenant may have queued (default: no limit).", 1L, long.MaxValue);

    internal static Option<long?> ImagesPerDay() => Values.Number("--images-per-day", "Images that the tenant may ask for in a day, by UTC (default: no limit).", 1L, long.MaxValue);

    private static Command CreateAdd()
    {
        var data = ServeCommand.Data();
        var tenant = new Option<string>("--tenant") { Description = "Whose jobs the key sees and makes.", HelpName = "NAME", Required = true };
        var admin = new Option<bool>("--admin") { Description = "Sees every tenant's jobs, drains workers, reads metrics." };
        var weight = Weight();
        var queued = QueuedImages();
        var daily = ImagesPerDay();
        var command = new Command("add", "Make a key and show it, once.") { data, tenant, admin, weight, queued, daily };
        command.SetAction(result =>
        {
            var (key, text) = ApiKey.Create(
                result.GetValue(tenant)!, result.GetValue(admin), result.GetValue(weight) ?? 1, result.GetValue(queued), result.GetValue(daily), DateTimeOffset.UtcNow);
            new ApiKeyFile(result.GetValue(data)!).Add(key);
            Console.Error.WriteLine($"farm: {key.Id} for tenant {key.Tenant}; the key is shown this once, only its hash is kept");
            Console.WriteLine(text);
            return ExitCodes.Success;
        });
        return command;
    }

    // without this a mistyped folder would look like a farm without keys
    private static ApiKeyFile Existing(string folder) => Directory.Exists(folder) ? new ApiKeyFile(folder)
        : File.Exists(folder) ? throw new UsageException($"--data {folder} is a file; name a folder")
        : throw new UsageException($"--data {folder}: there is no such folder; it is the one of ./farm serve, and ./farm keys add makes it");

    private static Command CreateList()
    {
        var data = ServeCommand.Data();
        var command = new Command("list", "List keys, revoked ones included.") { data };
        command.SetAction(result =>
        {
            TextTable.Write(
                ["id", "tenant", "admin", "weight", "queued images", "images a day", "since", "revoked"],
                [
                    .. Existing(result.GetValue(data)!).Read().Select(key => (IReadOnlyList<string>)
                    [
                        key.Id, key.Tenant, key.Admin ? "yes" : "", $"{key.Weight}", $"{key.MaxQueuedImages}", $"{key.ImagesPerDay}", $"{key.CreatedAt:yyyy-MM-dd HH:mm}", $"{key.RevokedAt:yyyy-MM-dd HH:mm}",
                    ]),
                ]);
            return ExitCodes.Success;
        });
        return command;
    }

    private static Command CreateRevoke()
    {
        var data = ServeCommand.Data();
        var id = new Argument<string>("id") { Description = "The key's id, as list shows it: never the key." };
        var command = new Command("revoke", "Revoke a key: at once, also on a running server.") { data, id };
        command.SetAction(result =>
        {
            var key = Existing(result.GetValue(data)!).Revoke(result.GetValue(id)!, DateTimeOffset.UtcNow);
            Console.WriteLine($"{key.Id} of tenant {key.Tenant}: revoked");
            return ExitCodes.Success;
        });
        return command;
    }
}
