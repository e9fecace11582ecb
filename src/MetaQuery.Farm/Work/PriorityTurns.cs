namespace MetaQuery.Farm;

/// <summary>Whose turn it is: interactive before bulk, but one in <c>bulkEvery</c> is bulk's while both wait.</summary>
/// <remarks>A bulk turn that found nothing is kept until something comes, one at most. Not thread-safe.</remarks>
/// <param name="bulkEvery">At least one of so many items is a bulk one, while bulk waits.</param>
public sealed class PriorityTurns(int bulkEvery = PriorityTurns.DefaultBulkEvery)
{
    public const int DefaultBulkEvery = 16;

    private readonly int _most = bulkEvery >= 1
        ? bulkEvery - 1
        : throw new ArgumentOutOfRangeException(nameof(bulkEvery), bulkEvery, "the share of bulk is one in at least 1");

    private int _interactive;

    /// <summary>The class to look into first for the next item.</summary>
    public JobPriority First => _interactive >= _most ? JobPriority.Bulk : JobPriority.Interactive;

    /// <summary>How many of the next items are bulk's, if both classes have enough: for a queue that is asked for several at once.</summary>
    public int BulkAmong(int items)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(items);
        return (int)(((long)_interactive + items) / (_most + 1));
    }

    /// <summary>Tells what was taken.</summary>
    public void Took(JobPriority priority) => Took(priority == JobPriority.Interactive ? 1 : 0, priority == JobPriority.Bulk ? 1 : 0);

    /// <summary>Tells what was taken.</summary>
    public void Took(int interactive, int bulk) =>
        _interactive = (int)Math.Clamp((long)_interactive + interactive - ((long)bulk * _most), 0, _most);
}
