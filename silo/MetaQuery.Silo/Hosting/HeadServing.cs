using MetaQuery.Farm;
using MetaQuery.Silo.Web;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;

namespace MetaQuery.Silo.Hosting;

/// <summary>What serving has in common with and without Redis.</summary>
internal static class HeadServing
{
    public static HeadOptions OptionsOf(ServeOptions options, ITenantDirectory tenants, ILoggerFactory logs)
    {
        var head = new HeadOptions { DataFolder = options.DataFolder, Tenants = tenants, KeepDataSets = options.KeepDataSets, Log = logs.CreateLogger<FarmHead>() };
        return options.MaxQueuedImages is { } most ? head with { MaxQueuedImages = most } : head;
    }

    /// <summary>Where the head's own events go: the head begins before the web server, which brings its logs with it.</summary>
    public static ILoggerFactory LogsOf(Action<ILoggingBuilder>? logging) => logging is null ? NullLoggerFactory.Instance : LoggerFactory.Create(logging);

    public static ServeOptions WithSecret(ServeOptions options, DataFolder folder) =>
        options with { Web = options.Web with { UrlSecret = UrlSecret.Of(folder.FullPath) } };

    public static ServeOptions WithChat(ServeOptions options, ChatService? chat) => options with { Web = options.Web with { Chat = chat } };

    /// <summary>Serves until it is told to stop, or until the head or the worker beside it cannot go on.</summary>
    /// <param name="head">What is served.</param>
    /// <param name="web">Its web server; has stopped at the end.</param>
    /// <param name="worker">The worker in this process, not yet run; null for none. Takes nothing new at the end, and finishes what it has begun.</param>
    /// <param name="stop">Asks for the end.</param>
    /// <exception cref="HeadBrokenException">The head met an error of its own: the process must end by it, so that whoever watches over it starts a new one.</exception>
    public static async Task UntilEndAsync(FarmHead head, FarmWebServer web, WorkerHost? worker, CancellationToken stop)
    {
        Task stopped = WaitAsync(stop);
        Task? working = worker?.RunAsync(CancellationToken.None);
        await Task.WhenAny(stopped, head.Broken, working ?? stopped);
        if (working is { IsCompletedSuccessfully: true })
        {
            await Task.WhenAny(stopped, head.Broken); // somebody drained the worker: jobs wait, but can be looked at and fetched
        }

        worker?.Drain();
        await web.StopAsync(CancellationToken.None);
        if (working is not null)
        {
            await Task.WhenAny(working); // its end, well or not: whoever owns the worker lets go of it next
        }

        head.ThrowIfBroken();
        await (working ?? Task.CompletedTask);
    }

    /// <summary>Ends, without an error, when the token fires.</summary>
    public static async Task WaitAsync(CancellationToken stop)
    {
        var stopped = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        using (stop.Register(stopped.SetResult))
        {
            await stopped.Task;
        }
    }
}
