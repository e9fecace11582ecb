using System.CommandLine;
using System.Text.Json;
using MetaQuery.Cli.Output;
using MetaQuery.Client;
using MetaQuery.Farm;

namespace MetaQuery.Cli.Commands;

/// <summary><c>silo</c>: becomes a silo of a cluster, and shows and steers a cluster's silos as their server sees them.</summary>
internal static class SiloCommand
{
    public static Command Create()
    {
        var command = new Command("silo", "Run a silo of a cluster (SIGTERM drains), or look at a cluster's silos.") { CreateList(), CreateDrain(), CreateScale() };
#if ORLEANS
        SiloRun.AddTo(command);
#else
        command.TreatUnmatchedTokensAsErrors = false; // whatever a silo would have been told
        command.SetAction((Func<ParseResult, int>)(_ => throw new UsageException(
            "this build has no cluster (-p:Orleans=false: the packages of Microsoft.Orleans did not restore, or it was asked for); ./farm build tries again, and serve --redis with worker does without (docs/redis.md)")));
#endif
        return command;
    }

    private static Command CreateList()
    {
        var command = new Command("list", "List silos with their roles, slots, grains and load.");
        var server = new ServerOptions(command);
        command.SetAction(async (result, stop) =>
        {
            using var client = server.Connect(result);
            Write(await client.ListSilosAsync(stop), server.IsJson(result));
            return ExitCodes.Success;
        });
        return command;
    }

    private static Command CreateDrain()
    {
        var id = Id();
        var command = new Command("drain", "Ask a silo to finish what it has begun, to give back the rest, to hand the head over and to leave.") { id };
        var server = new ServerOptions(command);
        command.SetAction(async (result, stop) =>
        {
            using var client = server.Connect(result);
            var silo = result.GetValue(id)!;
            Write(await ServerOptions.KnownAsync(client.DrainSiloAsync(silo, stop), "silo", silo), server.IsJson(result));
            return ExitCodes.Success;
        });
        return command;
    }

    private static Command CreateScale()
    {
        var id = Id();
        var count = Values.Count("slots", "Slots that it is to have, 0 to 1024; those beyond finish what they have begun.", 0, 1024);
        var command = new Command("scale", "Ask a silo to have so many slots, until it ends.") { id, count };
        var server = new ServerOptions(command);
        command.SetAction(async (result, stop) =>
        {
            using var client = server.Connect(result);
            var silo = result.GetValue(id)!;
            Write(await ServerOptions.KnownAsync(client.ScaleSiloAsync(silo, result.GetValue(count), stop), "silo", silo), server.IsJson(result));
            return ExitCodes.Success;
        });
        return command;
    }

    private static Argument<string> Id() => new("id") { Description = "The silo's id, as list shows it." };

    private static void Write(SiloList silos, bool isJson)
    {
        if (isJson)
        {
            Console.WriteLine(JsonSerializer.Serialize(silos, FarmJson.Default.SiloList));
        }
        else
        {
            RemoteReport.Silos(silos);
        }
    }
}
