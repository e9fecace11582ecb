using MetaQuery.Data;

namespace MetaQuery.Farm;

/// <summary>One round over all jobs: what the disk or the queue refuses one of them holds up none of the others. It is said, and tried again with the next round.</summary>
internal sealed class Round
{
    /// <summary>What was refused first, in one line; null where nothing was.</summary>
    public string? Trouble { get; private set; }

    public void Try(Action action)
    {
        try
        {
            action();
        }
        catch (Exception exception) when (exception is StorageException or WorkQueueException)
        {
            Meet(exception);
        }
    }

    public async Task TryAsync(Func<Task> action)
    {
        try
        {
            await action().ConfigureAwait(false);
        }
        catch (Exception exception) when (exception is StorageException or WorkQueueException)
        {
            Meet(exception);
        }
    }

    /// <summary>Takes in what was refused elsewhere; null where nothing was.</summary>
    public void Meet(Exception? refusal) => Trouble ??= refusal?.Message;
}
