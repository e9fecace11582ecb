using System.CommandLine;
using System.Net;
using System.Net.Sockets;
using MetaQuery.Farm;
using MetaQuery.Orleans;
using MetaQuery.Silo;
using MetaQuery.Silo.Hosting;
using MetaQuery.Silo.Web;

namespace MetaQuery.Cli.Commands;

/// <summary><c>silo</c> itself: this process becomes a silo.</summary>
internal static class SiloRun
{
    private const long Mebibyte = 1 << 20;

    // silos notice deaths by themselves; a shorter lease than a worker's makes the work of a dead one run elsewhere within 15 s
    private static readonly TimeSpan LeaseTime = TimeSpan.FromSeconds(10);

    /// <summary>Gives a command this action; it may have subcommands beside it.</summary>
    public static Command AddTo(Command command)
    {
        ArgumentNullException.ThrowIfNull(command);
        var redis = new RedisSettings(LeaseTime);
        var clustering = Values.Choice("--clustering", "localhost: one silo, no server needed; redis: as many as join (default: redis with --redis, else localhost).", null, "KIND", "localhost", "redis");
        var data = ServeCommand.Data();
        var roles = Roles();
        var slots = Values.Number("--slots", "Batches at a time (default: one per core, one on an accelerator); changes no picture.", 1, SiloEndpointLimit);
        var threads = Values.Number("--threads", "Threads of each slot (default 1); part of what a picture's bits depend on.", 1, 256);
        var device = Values.Device();
        var model = Values.Text("--model", "A folder under models/, or a path: the same for every silo.", InstalledModels.Default, "NAME|FOLDER");
        var dtype = Values.Dtype();
        var urls = new Option<string[]>("--urls") { Description = "Addresses of the web API, with the role head (default http://127.0.0.1:8080); off loopback only with keys.", HelpName = "URL", AllowMultipleArgumentsPerToken = true };
        var address = new Option<string?>("--address") { Description = "IP address at which the other silos reach this one (default 127.0.0.1); silos trust whoever reaches it.", HelpName = "IP" };
        var siloPort = Values.Number("--silo-port", $"Where silos meet (default {SiloOptions.DefaultSiloPort}; 0 takes a free one).", 0, 65535);
        var gatewayPort = Values.Number("--gateway-port", $"Where Orleans' clients come in (default {SiloOptions.DefaultGatewayPort}; 0 takes a free one).", 0, 65535);
        var publicUrl = new Option<string?>("--public-url") { Description = "The server's address as clients know it, behind a proxy.", HelpName = "URL" };
        var queued = Values.Number("--max-queued-images", "Images of all tenants that may be queued (default 100 million).", 1L, long.MaxValue);
        var keep = Values.Number("--keep-days", "Delete data sets so long after they finished (default: never).", 0.001, 36_500.0);
        var memory = Values.Number("--cache-memory-mb", "Conditions held in memory in MiB (default 512).", 0L, 1L << 30);
        var chatSlots = Values.Number("--chat-slots", "With the role head: questions answered at a time at /v1/chat/completions (default 0, as it loads the language model for it).", 0, 1024);
        var budget = Values.MemoryBudget();
        var openMetrics = new Option<bool>("--open-metrics") { Description = "Let /metrics be read without an admin's key." };
        foreach (var option in (Option[])[clustering, data, roles, slots, threads, device, model, dtype, urls, address, siloPort, gatewayPort, publicUrl, queued, keep, memory, budget, chatSlots, openMetrics])
        {
            command.Options.Add(option);
        }

        redis.AddTo(command);
        command.SetAction(async (result, stop) =>
        {
            var folder = result.GetValue(data)!;
            var standard = new ServeOptions { DataFolder = folder, ModelFolder = InstalledModels.Find(result.GetValue(model)!) };
            var perSlot = result.GetValue(threads) ?? 1;
            var place = result.GetValue(device)!;
            var farm = redis.Read(result, folder);
            var wanted = result.GetValue(roles) ?? SiloRoles.All;
            CheckClustering(result.GetValue(clustering), farm, wanted);
            await RunAsync(
                new SiloOptions
                {
                    OnDeath = Die,
                    Redis = farm,
                    Roles = wanted,
                    Device = place,
                    Address = AddressOf(result.GetValue(address)),
                    SiloPort = result.GetValue(siloPort) ?? SiloOptions.DefaultSiloPort,
                    GatewayPort = result.GetValue(gatewayPort) ?? SiloOptions.DefaultGatewayPort,
                    Serve = standard with
                    {
                        Dtype = result.GetValue(dtype),
                        Threads = perSlot,
                        ChatSlots = result.GetValue(chatSlots),
                        MemoryBudgetBytes = result.GetValue(budget),
                        Slots = result.GetValue(slots) ?? (result.GetValue(budget) is null ? LocalModel.DefaultSlots(perSlot, place) : 1), // slots turn by themselves here, the halves are all slots'
                        MaxQueuedImages = result.GetValue(queued),
                        KeepDataSets = result.GetValue(keep) is { } days ? TimeSpan.FromDays(days) : null,
                        CacheMemoryBytes = result.GetValue(memory) * Mebibyte ?? standard.CacheMemoryBytes,
                        Web = standard.Web with
                        {
                            Urls = ServeCommand.UrlsOf(result.GetValue(urls)),
                            PublicUrl = ServeCommand.Address(result.GetValue(publicUrl)),
                            OpenMetrics = result.GetValue(openMetrics),
                        },
                    },
                },
                stop);
            return ExitCodes.Success;
        });
        return command;
    }

    private const int SiloEndpointLimit = 1024;

    private static async Task RunAsync(SiloOptions options, CancellationToken stop)
    {
        try
        {
            await SiloServer.RunAsync(
                options,
                (silo, urls) => Console.WriteLine(
                    $"silo {silo.ToParsableString()}: {SiloRoleNames.Write(options.Roles)}{(options.Roles == SiloRoles.Head ? "" : $", {options.Serve.Slots} slots on {options.Device}")}{(urls.Count > 0 ? $", listening on {string.Join(", ", urls)}" : "")}, {(options.Redis is { } redis ? $"cluster {redis.Redis.Namespace} on Redis at {redis.Redis.Address}" : "alone on this machine")}, data in {options.Serve.DataFolder}"),
                ServerLogs.Configure,
                stop);
            Console.WriteLine("silo left: what it had begun is finished, the rest given back");
        }
        catch (OperationCanceledException) when (stop.IsCancellationRequested)
        {
            Console.WriteLine("silo stopped before it had joined");
        }
    }

    // what this process still does is refused by the fences; it should not even try
    private static void Die(Exception death)
    {
        Console.Error.WriteLine("farm: " + Failure.OneLine(death.Message));
        _ = Task.Run(() => Environment.Exit(ExitCodes.For(death))); // not on this thread, for which the process would wait
    }

    private static void CheckClustering(string? clustering, RedisFarmOptions? redis, SiloRoles roles)
    {
        if (clustering == "redis" && redis is null)
        {
            throw new UsageException("silo: --redis HOST:PORT is missing: with --clustering redis it is where the silos meet");
        }

        if (clustering == "localhost" && redis is not null)
        {
            throw new UsageException("silo: --redis is for --clustering redis; with localhost there is one silo, which needs no server");
        }

        if (redis is null && !roles.HasFlag(SiloRoles.Head))
        {
            throw new UsageException("silo: without --redis this is the only silo, and needs the role head; leave --roles out, or name the Redis where the others meet");
        }
    }

    private static IPAddress AddressOf(string? text) => text is null ? IPAddress.Loopback
        : IPAddress.TryParse(text, out var address) && address.AddressFamily is AddressFamily.InterNetwork or AddressFamily.InterNetworkV6 && !address.Equals(IPAddress.Any) && !address.Equals(IPAddress.IPv6Any) ? address
        : throw new UsageException($"--address {text}: must be this machine's own IP address as the other silos reach it, such as 10.0.0.5");

    private static Option<SiloRoles?> Roles() => new("--roles")
    {
        Description = "head (web API, page, and the head where it is its turn), mllm (prompts to conditions), dit (conditions to pictures); default all three.",
        HelpName = "ROLES",
        CustomParser = result =>
        {
            if (SiloRoleNames.Parse(result.Tokens[0].Value) is { } parsed)
            {
                return parsed;
            }

            result.AddError($"--roles {result.Tokens[0].Value}: must be of head, mllm and dit, with commas between them");
            return null;
        },
    };
}
