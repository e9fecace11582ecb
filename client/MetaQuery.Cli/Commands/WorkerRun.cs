using System.CommandLine;
using MetaQuery.Farm;
using MetaQuery.Silo;
using MetaQuery.Silo.Hosting;

namespace MetaQuery.Cli.Commands;

/// <summary><c>worker</c> itself: this process becomes a worker of a farm over Redis.</summary>
internal static class WorkerRun
{
    private const long Mebibyte = 1 << 20;
    private static readonly char[] Separators = [',', '+', ' '];

    /// <summary>Gives a command this action; it may have subcommands beside it.</summary>
    public static Command AddTo(Command command)
    {
        ArgumentNullException.ThrowIfNull(command);
        var redis = new RedisSettings();
        var data = Values.Text("--data", "The head's data folder, as this machine sees it.", Path.Combine(".", "farm-data"), "FOLDER");
        var roles = Roles();
        var model = Values.Text("--model", "A folder under models/, or a path: the head's model.", InstalledModels.Default, "NAME|FOLDER");
        var dtype = Values.Dtype();
        var slots = Values.Number("--slots", "Batches at a time (default: one per core, one on an accelerator); changes no picture.", 1, 1024);
        var threads = Values.Number("--threads", "Threads of each slot (default 1); part of what a picture's bits depend on.", 1, 256);
        var device = Values.Device();
        var memory = Values.Number("--cache-memory-mb", "Conditions held in memory in MiB (default 512).", 0L, 1L << 30);
        var budget = Values.MemoryBudget();
        redis.AddTo(command);
        foreach (var option in (Option[])[data, roles, slots, threads, device, model, dtype, memory, budget])
        {
            command.Options.Add(option);
        }

        command.SetAction(async (result, stop) =>
        {
            var farm = redis.Read(result, result.GetValue(data)!)
                ?? throw new UsageException("worker: --redis HOST:PORT is missing: where the farm's head and workers meet (serve alone has workers of its own)");
            var options = new RedisWorkerOptions { Farm = farm, ModelFolder = InstalledModels.Find(result.GetValue(model)!) };
            var perSlot = result.GetValue(threads) ?? options.Threads;
            var place = result.GetValue(device)!;
            await RunAsync(
                options with
                {
                    Dtype = result.GetValue(dtype),
                    Roles = result.GetValue(roles) ?? options.Roles,
                    Threads = perSlot,
                    Slots = result.GetValue(slots) ?? LocalModel.DefaultSlots(perSlot, place),
                    Device = place,
                    MemoryBudgetBytes = result.GetValue(budget),
                    CacheMemoryBytes = result.GetValue(memory) * Mebibyte ?? options.CacheMemoryBytes,
                },
                stop);
            return ExitCodes.Success;
        });
        return command;
    }

    internal static WorkRoles? ParseRoles(string text)
    {
        var found = WorkRoles.None;
        foreach (var word in text.Split(Separators, StringSplitOptions.RemoveEmptyEntries))
        {
            found |= word switch { "mllm" => WorkRoles.Mllm, "dit" => WorkRoles.Dit, "both" => WorkRoles.Both, _ => WorkRoles.None };
            if (word is not ("mllm" or "dit" or "both"))
            {
                return null;
            }
        }

        return found == WorkRoles.None ? null : found;
    }

    private static async Task RunAsync(RedisWorkerOptions options, CancellationToken stop)
    {
        try
        {
            var counts = await RedisWorker.RunAsync(
                options,
                info => Console.WriteLine(
                    $"worker {info.Id}: {Words(info.Roles)}, {info.Slots} slots on {info.Device}, model {info.Images.ModelName}, lane {info.Lane} ({info.Images.Numerics})"),
                ServerLogs.Configure, stop);
            Console.WriteLine($"worker drained: {counts.Images} images and {counts.Conditions} conditions made, {counts.RefusedReports} reports came too late");
        }
        catch (OperationCanceledException) when (stop.IsCancellationRequested)
        {
            Console.WriteLine("worker stopped before it took work");
        }
    }

    private static string Words(WorkRoles roles) => roles switch { WorkRoles.Mllm => "mllm", WorkRoles.Dit => "dit", _ => "mllm and dit" };

    private static Option<WorkRoles?> Roles() => new("--roles")
    {
        Description = "Which halves of the model: mllm (prompts to conditions), dit (conditions to pictures), or mllm,dit (default).",
        HelpName = "ROLES",
        CustomParser = result =>
        {
            if (ParseRoles(result.Tokens[0].Value) is { } parsed)
            {
                return parsed;
            }

            result.AddError($"--roles {result.Tokens[0].Value}: must be mllm, dit or mllm,dit");
            return null;
        },
    };
}
