using MetaQuery.Farm;

namespace MetaQuery.Silo.Hosting;

/// <summary>What serving has in common with and without Redis.</summary>
internal static class HeadServing
{
    public static HeadOptions OptionsOf(ServeOptions options, ITenantDirectory tenants)
    {
        var head = new HeadOptions { DataFolder = options.DataFolder, Tenants = tenants, KeepDataSets = options.KeepDataSets };
        return options.MaxQueuedImages is { } most ? head with { MaxQueuedImages = most } : head;
    }

    public static ServeOptions WithSecret(ServeOptions options, DataFolder folder) =>
        options with { Web = options.Web with { UrlSecret = UrlSecret.Of(folder.FullPath) } };

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
