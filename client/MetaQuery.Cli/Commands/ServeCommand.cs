using System.CommandLine;
using MetaQuery.Farm;
using MetaQuery.Silo;
using MetaQuery.Silo.Hosting;
using MetaQuery.Silo.Web;

namespace MetaQuery.Cli.Commands;

/// <summary><c>serve</c>: web API, page, head and, without Redis, workers in one process.</summary>
internal static class ServeCommand
{
    private const long Mebibyte = 1 << 20;

    /// <summary>The option that names a head's data folder.</summary>
    public static Option<string> Data() => Values.Text("--data", "Folder for journal, prompts, outputs and keys: data, not a cache.", Path.Combine(".", "farm-data"), "FOLDER");

    public static Command Create()
    {
        var data = Data();
        var urls = new Option<string[]>("--urls") { Description = "Addresses to listen on (default http://127.0.0.1:8080); off loopback only with keys.", HelpName = "URL", AllowMultipleArgumentsPerToken = true };
        var model = Values.Text("--model", "A folder under models/, or a path.", InstalledModels.Default, "NAME|FOLDER");
        var dtype = Values.Dtype();
        var device = Values.Device();
        var slots = Values.Number("--slots", "Batches at a time in this process (default: one per core, one on an accelerator); changes no picture.", 1, 1024);
        var threads = Values.Number("--threads", "Threads of each slot (default 1); part of what a picture's bits depend on.", 1, 256);
        var chatSlots = Values.Number("--chat-slots", "Questions answered at a time at /v1/chat/completions (default 1; with --redis 0, as the head would load the language model for it).", 0, 1024);
        var publicUrl = new Option<string?>("--public-url") { Description = "The server's address as clients know it, behind a proxy.", HelpName = "URL" };
        var cors = new Option<string[]>("--cors") { Description = "Origins whose pages may use the API.", HelpName = "ORIGIN", AllowMultipleArgumentsPerToken = true };
        var requests = Values.Number("--requests-per-minute", "Of one tenant; 0 for no limit (default 6000).", 0, 10_000_000);
        var upload = Values.Number("--max-upload-mb", "Longest prompt file in MiB (default 4096).", 1L, 1L << 30);
        var queued = Values.Number("--max-queued-images", "Images of all tenants that may be queued (default 100 million).", 1L, long.MaxValue);
        var keep = Values.Number("--keep-days", "Delete data sets so long after they finished (default: never).", 0.001, 36_500.0);
        var memory = Values.Number("--cache-memory-mb", "Conditions held in memory in MiB (default 512).", 0L, 1L << 30);
        var disk = Values.Number("--cache-disk-mb", "Conditions kept on disk in MiB (default 8192).", 1L, 1L << 30);
        var openMetrics = new Option<bool>("--open-metrics") { Description = "Let /metrics be read without an admin's key." };
        var command = new Command("serve", "Serve the web API and the page, take jobs and work on them; with --redis, workers of their own do (./farm worker).")
        {
            data, urls, model, dtype, device, slots, threads, chatSlots, publicUrl, cors, requests, upload, queued, keep, memory, disk, openMetrics,
        };
        var budget = Values.MemoryBudget();
        command.Options.Add(budget);
        var redis = new RedisSettings();
        redis.AddTo(command);
        command.SetAction(async (result, stop) =>
        {
            var perSlot = result.GetValue(threads) ?? 1;
            var web = new WebOptions
            {
                Urls = UrlsOf(result.GetValue(urls)),
                PublicUrl = Address(result.GetValue(publicUrl)),
                AllowedOrigins = result.GetValue(cors) ?? [],
                OpenMetrics = result.GetValue(openMetrics),
            };
            var options = new ServeOptions
            {
                DataFolder = result.GetValue(data)!,
                ModelFolder = InstalledModels.Find(result.GetValue(model)!),
                Dtype = result.GetValue(dtype),
                Threads = perSlot,
                MemoryBudgetBytes = result.GetValue(budget),
                Device = result.GetValue(device)!,
                Slots = result.GetValue(slots) ?? LocalModel.DefaultSlots(perSlot, result.GetValue(device)!),
                ChatSlots = result.GetValue(chatSlots),
                MaxQueuedImages = result.GetValue(queued),
                KeepDataSets = result.GetValue(keep) is { } days ? TimeSpan.FromDays(days) : null,
                CacheMemoryBytes = result.GetValue(memory) * Mebibyte ?? new ServeOptions { DataFolder = "", ModelFolder = "" }.CacheMemoryBytes,
                CacheDiskBytes = result.GetValue(disk) * Mebibyte ?? new ServeOptions { DataFolder = "", ModelFolder = "" }.CacheDiskBytes,
                Web = web with
                {
                    RequestsPerMinute = result.GetValue(requests) ?? web.RequestsPerMinute,
                    MaxUploadBytes = result.GetValue(upload) * Mebibyte ?? web.MaxUploadBytes,
                },
            };
            await ServeAsync(options, redis.Read(result, options.DataFolder), stop);
            return ExitCodes.Success;
        });
        return command;
    }

    /// <summary>Addresses to listen on: each word may hold several, with commas or semicolons between them.</summary>
    internal static IReadOnlyList<string> UrlsOf(string[]? words) => words is { Length: > 0 }
        ? [.. words.SelectMany(url => url.Split([',', ';'], StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries))]
        : new WebOptions().Urls;

    internal static Uri? Address(string? url) => url is null ? null
        : Uri.TryCreate(url, UriKind.Absolute, out var address) && address.Scheme is "http" or "https" ? address
        : throw new UsageException($"--public-url {url}: must be an address such as https://farm.example.org");

    private static async Task ServeAsync(ServeOptions options, RedisFarmOptions? redis, CancellationToken stop)
    {
        FarmWebServer.CheckUrls(options.Web.Urls, new ApiKeyRing(new ApiKeyFile(options.DataFolder))); // before seconds are spent on the model
        if (redis is not null)
        {
            await RedisHead.RunAsync(options, redis, urls => Listening(urls, $"head on Redis at {redis.Redis.Address}"), ServerLogs.Configure, stop);
            return;
        }

        using var model = LocalModel.Load(
            options.ModelFolder, options.Dtype, options.Threads, device: options.Device, memoryBudgetBytes: options.MemoryBudgetBytes, conditionCacheBytes: options.CacheMemoryBytes);
        await EmbeddedServer.RunAsync(model, options, urls => Listening(urls, $"{options.Slots} slots"), ServerLogs.Configure, stop);

        void Listening(IReadOnlyList<string> urls, string what) =>
            Console.WriteLine($"listening on {string.Join(", ", urls)}: model {Path.GetFileName(Path.TrimEndingDirectorySeparator(options.ModelFolder))}, {what}, data in {options.DataFolder}");
    }
}
