using System.Diagnostics.CodeAnalysis;

namespace MetaQuery.Farm;

/// <summary>A job as the scheduler sees it.</summary>
public interface IWorkSource<TItem>
{
    /// <summary>The job's next item.</summary>
    /// <returns>False where it has none at the moment; it may have one later.</returns>
    bool TryTake([MaybeNullWhen(false)] out TItem item);
}

/// <summary>Chooses which job's item is next: interactive before bulk with a share for bulk (<see cref="PriorityTurns"/>), deficit round robin
/// between the tenants of a class, the oldest job first within a tenant.</summary>
/// <remarks>
/// State in, decisions out: no clock, no thread. Not thread-safe. Deficit round robin (Shreedhar and Varghese, 1995) with a quantum
/// of one item for the heaviest tenant that is there: a round gives each tenant a credit of its weight over the largest, and an item costs 1.
/// Other than there, a tenant that has nothing at the moment keeps its credit and gains <see cref="RememberedRounds"/> rounds' of it at most,
/// since a job's next item may be a moment away (its condition is being made); it loses it when its last job leaves.
/// </remarks>
/// <param name="bulkEvery">One in so many items is a bulk one, while bulk waits.</param>
public sealed class FairScheduler<TItem>(int bulkEvery = PriorityTurns.DefaultBulkEvery)
{
    /// <summary>For how many rounds a tenant that has nothing at the moment is remembered.</summary>
    public const int RememberedRounds = 64;

    private readonly PriorityTurns _turns = new(bulkEvery);
    private readonly TenantRing<TItem> _interactive = new();
    private readonly TenantRing<TItem> _bulk = new();
    private readonly Dictionary<string, double> _weights = new(StringComparer.Ordinal);
    private readonly Dictionary<IWorkSource<TItem>, (string Tenant, JobPriority Priority)> _sources = [];

    /// <summary>Jobs that were added and not removed.</summary>
    public int Count => _sources.Count;

    /// <summary>Sets a tenant's weight, from its next item on; a tenant without one has 1.</summary>
    /// <exception cref="ArgumentOutOfRangeException">Not a finite number above 0.</exception>
    public void SetWeight(string tenant, double weight)
    {
        if (!double.IsFinite(weight) || weight <= 0)
        {
            throw new ArgumentOutOfRangeException(nameof(weight), weight, $"the weight of {tenant} is not a finite number above 0");
        }

        _weights[tenant] = weight;
        _interactive.SetWeight(tenant, weight);
        _bulk.SetWeight(tenant, weight);
    }

    /// <summary>A job joins.</summary>
    /// <param name="source">Gives its items.</param>
    /// <param name="tenant">Whose it is.</param>
    /// <param name="priority">Its class.</param>
    /// <param name="order">Older jobs have smaller ones; equal ones are taken in the order they were added.</param>
    public void Add(IWorkSource<TItem> source, string tenant, JobPriority priority, long order)
    {
        ArgumentNullException.ThrowIfNull(source);
        if (!_sources.TryAdd(source, (tenant, priority)))
        {
            throw new ArgumentException("the job has joined already", nameof(source));
        }

        RingOf(priority).Add(source, tenant, _weights.GetValueOrDefault(tenant, 1), order);
    }

    /// <summary>A job leaves.</summary>
    /// <returns>False where it was not there.</returns>
    public bool Remove(IWorkSource<TItem> source)
    {
        if (!_sources.Remove(source, out (string Tenant, JobPriority Priority) place))
        {
            return false;
        }

        RingOf(place.Priority).Remove(source, place.Tenant);
        return true;
    }

    /// <summary>The next item in fair order.</summary>
    /// <returns>False where no job has one at the moment.</returns>
    public bool TryNext([MaybeNullWhen(false)] out TItem item)
    {
        JobPriority first = _turns.First;
        JobPriority second = first == JobPriority.Bulk ? JobPriority.Interactive : JobPriority.Bulk;
        if (TryNext(first, out item) || TryNext(second, out item))
        {
            return true;
        }

        return false;
    }

    private bool TryNext(JobPriority priority, [MaybeNullWhen(false)] out TItem item)
    {
        if (!RingOf(priority).TryNext(out item))
        {
            return false;
        }

        _turns.Took(priority);
        return true;
    }

    private TenantRing<TItem> RingOf(JobPriority priority) => priority == JobPriority.Interactive ? _interactive : _bulk;
}
