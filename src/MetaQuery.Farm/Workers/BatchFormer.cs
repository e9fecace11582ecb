namespace MetaQuery.Farm;

/// <summary>Fills denoising batches from images of several prompts, jobs and tenants that agree in shape. State in, decisions out.</summary>
/// <remarks>
/// Interactive images go first, in whatever batch there is. A batch that is not full is held back as long as another one can run or more
/// images may come; but an image that was passed over often enough goes as it is. Not thread-safe.
/// </remarks>
/// <typeparam name="T">What stands for an image here.</typeparam>
/// <param name="itemOf">The image's item.</param>
/// <param name="patience">Batches that may be formed while an image waits for its own to fill.</param>
/// <param name="fillsInteractive">Whether interactive images take bulk ones along: where a full batch takes no longer than a short one.</param>
internal sealed class BatchFormer<T>(Func<T, DenoiseItem> itemOf, int patience, bool fillsInteractive)
    where T : class
{
    private readonly Dictionary<Group, List<Entry>> _groups = [];
    private long _arrivals;
    private long _formed;

    public int Count { get; private set; }

    public int InteractiveCount => _groups.Values.Sum(entries => entries.Count(IsInteractive));

    /// <summary>Whether some image would not wait for others.</summary>
    public bool HasUrgent => _groups.Values.Any(entries => entries.Exists(entry => IsInteractive(entry) || IsOverdue(entry)));

    /// <summary>Whether a batch can be filled.</summary>
    public bool HasFull => _groups.Any(group => IsFull(group.Key, group.Value));

    public void Add(T image)
    {
        DenoiseItem item = itemOf(image);
        var group = new Group(item.Shape, item.Timeout, item.RunsSingly || item.RunsAlone ? item.Id : null);
        if (!_groups.TryGetValue(group, out List<Entry>? entries))
        {
            _groups[group] = entries = [];
        }

        entries.Add(new Entry(image, item.Priority, _arrivals++, _formed));
        Count++;
    }

    /// <summary>Takes out what will not be made after all.</summary>
    public IReadOnlyList<T> Remove(Predicate<T> which)
    {
        var removed = new List<T>();
        foreach ((Group group, List<Entry> entries) in _groups.ToList())
        {
            removed.AddRange(entries.Where(entry => which(entry.Image)).Select(entry => entry.Image));
            entries.RemoveAll(entry => which(entry.Image));
            if (entries.Count == 0)
            {
                _groups.Remove(group);
            }
        }

        Count -= removed.Count;
        return removed;
    }

    /// <summary>The next batch.</summary>
    /// <param name="moreMayCome">Whether images are on their way that could fill a batch.</param>
    /// <returns>Images in the order of their rows; null where it is better to wait, or nothing is there.</returns>
    public IReadOnlyList<T>? Take(bool moreMayCome)
    {
        Group? chosen = Oldest(IsOverdue) ?? Oldest(IsInteractive) ?? Oldest(static _ => true, fullOnly: true)
            ?? (moreMayCome ? null : Oldest(static _ => true));
        return chosen is { } group ? Form(group) : null;
    }

    private static bool IsInteractive(Entry entry) => entry.Priority == JobPriority.Interactive;

    private static bool IsFull(Group group, List<Entry> entries) => group.SingleId is not null || entries.Count >= group.Shape.BatchSize;

    private bool IsOverdue(Entry entry) => _formed - entry.FormedBefore >= patience;

    /// <summary>The group with the oldest of the images that pass.</summary>
    private Group? Oldest(Func<Entry, bool> passes, bool fullOnly = false)
    {
        Group? best = null;
        long oldest = long.MaxValue;
        foreach ((Group group, List<Entry> entries) in _groups)
        {
            if ((!fullOnly || IsFull(group, entries)) && entries.Find(entry => passes(entry)) is { } first && first.Arrival < oldest)
            {
                (best, oldest) = (group, first.Arrival);
            }
        }

        return best;
    }

    private List<T> Form(Group group)
    {
        List<Entry> entries = _groups[group];
        bool onlyUrgent = !fillsInteractive && entries.Exists(IsInteractive);
        Entry[] rows =
        [
            .. entries.Where(entry => !onlyUrgent || IsInteractive(entry) || IsOverdue(entry))
                .OrderByDescending(IsOverdue).ThenByDescending(IsInteractive).ThenBy(entry => entry.Arrival).Take(group.Shape.BatchSize),
        ];
        entries.RemoveAll(entry => rows.Contains(entry));
        if (entries.Count == 0)
        {
            _groups.Remove(group);
        }

        Count -= rows.Length;
        _formed++;
        return [.. rows.Select(row => row.Image)];
    }

    /// <param name="SingleId">Of an image that goes in a batch of its own.</param>
    private readonly record struct Group(BatchShape Shape, TimeSpan? Timeout, string? SingleId);

    private sealed record Entry(T Image, JobPriority Priority, long Arrival, long FormedBefore);
}
