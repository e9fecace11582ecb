using System.Diagnostics.CodeAnalysis;

namespace MetaQuery.Farm;

/// <summary>What waits in memory for one role of one lane. Not thread-safe: the queue's lock guards it.</summary>
internal sealed class MemoryLane
{
    private readonly PriorityTurns _turns = new();
    private Queue<WorkItem> _interactive = new();
    private Queue<WorkItem> _bulk = new();
    private Queue<WorkItem> _alone = new();
    private TaskCompletionSource? _arrival;

    /// <summary>Items for anyone.</summary>
    public int Waiting => _interactive.Count + _bulk.Count;

    public int WaitingAlone => _alone.Count;

    /// <summary>Ends when something has come for anyone.</summary>
    public Task Arrival => (_arrival ??= new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously)).Task;

    /// <returns>Who must be woken, outside the lock.</returns>
    public TaskCompletionSource? Add(WorkItem item)
    {
        if (item.RunsAlone)
        {
            _alone.Enqueue(item);
            return null;
        }

        QueueOf(item).Enqueue(item);
        return Interlocked.Exchange(ref _arrival, null);
    }

    /// <param name="most">At most so many.</param>
    /// <param name="isInteractiveOnly">Leaves bulk items where they are.</param>
    public List<WorkItem> Take(int most, bool isInteractiveOnly = false)
    {
        var taken = new List<WorkItem>(Math.Min(most, Waiting));
        while (taken.Count < most)
        {
            JobPriority priority = isInteractiveOnly ? JobPriority.Interactive
                : _interactive.Count == 0 ? JobPriority.Bulk
                : _bulk.Count == 0 ? JobPriority.Interactive
                : _turns.First;
            if (!(priority == JobPriority.Interactive ? _interactive : _bulk).TryDequeue(out WorkItem? item))
            {
                break;
            }

            _turns.Took(priority);
            taken.Add(item);
        }

        return taken;
    }

    public bool TryTakeAlone([NotNullWhen(true)] out WorkItem? item) => _alone.TryDequeue(out item);

    /// <summary>Undoes <see cref="Take"/> or <see cref="TryTakeAlone"/>.</summary>
    public void GiveBack(IReadOnlyList<WorkItem> items)
    {
        if (items.Count == 0)
        {
            return;
        }

        _alone = new Queue<WorkItem>(items.Where(item => item.RunsAlone).Concat(_alone));
        _interactive = new Queue<WorkItem>(items.Where(item => !item.RunsAlone && item.Priority == JobPriority.Interactive).Concat(_interactive));
        _bulk = new Queue<WorkItem>(items.Where(item => !item.RunsAlone && item.Priority == JobPriority.Bulk).Concat(_bulk));
    }

    public void Withdraw(string jobId)
    {
        _interactive = Without(_interactive, jobId);
        _bulk = Without(_bulk, jobId);
        _alone = Without(_alone, jobId);
    }

    public void Clear()
    {
        _interactive.Clear();
        _bulk.Clear();
        _alone.Clear();
    }

    private static Queue<WorkItem> Without(Queue<WorkItem> items, string jobId) =>
        items.Any(item => BelongsTo(item, jobId)) ? new Queue<WorkItem>(items.Where(item => !BelongsTo(item, jobId))) : items;

    private static bool BelongsTo(WorkItem item, string jobId) => item is DenoiseItem denoise && denoise.JobId == jobId;

    private Queue<WorkItem> QueueOf(WorkItem item) => item.Priority == JobPriority.Interactive ? _interactive : _bulk;
}
