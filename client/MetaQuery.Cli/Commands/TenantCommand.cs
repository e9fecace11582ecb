using System.CommandLine;
using System.Text.Json;
using MetaQuery.Cli.Output;
using MetaQuery.Client;
using MetaQuery.Farm;

namespace MetaQuery.Cli.Commands;

/// <summary><c>tenant</c>: what a tenant is entitled to, as the farm's server sees it; a cluster lets an admin set it.</summary>
internal static class TenantCommand
{
    public static Command Create() => new("tenant", "Show a tenant's share and limits, or set them in a cluster.") { CreateShow(), CreateSet(), CreateReset() };

    private static Command CreateShow() =>
        Create("show", "Show what a tenant is entitled to.", [], (client, tenant, _, stop) => client.GetTenantAsync(tenant, stop));

    private static Command CreateSet()
    {
        var weight = KeysCommand.Weight();
        var queued = KeysCommand.QueuedImages();
        var daily = KeysCommand.ImagesPerDay();
        return Create(
            "set", "Set all of it, in place of what the tenant's keys say; takes effect at once.", [weight, queued, daily],
            (client, tenant, result, stop) => client.SetTenantAsync(
                tenant, new TenantRequest { Weight = result.GetValue(weight), MaxQueuedImages = result.GetValue(queued), ImagesPerDay = result.GetValue(daily) }, stop));
    }

    private static Command CreateReset() =>
        Create("reset", "Give the tenant back what its keys say.", [], (client, tenant, _, stop) => client.ResetTenantAsync(tenant, stop));

    private static Command Create(string name, string description, Option[] options, Func<FarmClient, string, ParseResult, CancellationToken, Task<Tenant>> ask)
    {
        var id = new Argument<string>("name") { Description = "The tenant, as its keys name it." };
        var command = new Command(name, description) { id };
        foreach (var option in options)
        {
            command.Options.Add(option);
        }

        var server = new ServerOptions(command);
        command.SetAction(async (result, stop) =>
        {
            using var client = server.Connect(result);
            var tenant = await ask(client, result.GetValue(id)!, result, stop);
            if (server.IsJson(result))
            {
                Console.WriteLine(JsonSerializer.Serialize(tenant, FarmJson.Default.Tenant));
            }
            else
            {
                RemoteReport.Show(tenant);
            }

            return ExitCodes.Success;
        });
        return command;
    }
}
