using System.CommandLine;
using System.Text.Json;
using MetaQuery.Cli.Output;
using MetaQuery.Client;
using MetaQuery.Farm;

namespace MetaQuery.Cli.Commands;

/// <summary><c>worker</c>: works for a head, and shows a farm's workers as its server sees them.</summary>
internal static class WorkerCommand
{
    public static Command Create() => WorkerRun.AddTo(new Command("worker", "Work for a farm's head over Redis (SIGTERM drains), or look at a farm's workers.") { CreateList(), CreateDrain() });

    private static Command CreateList()
    {
        var command = new Command("list", "List workers with their slots, rates and present work.");
        var server = new ServerOptions(command);
        command.SetAction(async (result, stop) =>
        {
            using var client = server.Connect(result);
            Write(await client.ListWorkersAsync(stop), server.IsJson(result));
            return ExitCodes.Success;
        });
        return command;
    }

    private static Command CreateDrain()
    {
        var id = new Argument<string>("id") { Description = "The worker's id, as list shows it." };
        var command = new Command("drain", "Ask a worker to finish what it has begun, to give back the rest and to leave.") { id };
        var server = new ServerOptions(command);
        command.SetAction(async (result, stop) =>
        {
            using var client = server.Connect(result);
            var worker = result.GetValue(id)!;
            Write(await ServerOptions.KnownAsync(client.DrainWorkerAsync(worker, stop), "worker", worker), server.IsJson(result));
            Console.Error.WriteLine($"farm: {worker} was asked to leave: it finishes what it has begun, and is gone from worker list then");
            return ExitCodes.Success;
        });
        return command;
    }

    private static void Write(WorkerList workers, bool isJson)
    {
        if (isJson)
        {
            Console.WriteLine(JsonSerializer.Serialize(workers, FarmJson.Default.WorkerList));
        }
        else
        {
            RemoteReport.Workers(workers);
        }
    }
}
