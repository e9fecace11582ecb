using System.Diagnostics.CodeAnalysis;

namespace MetaQuery.Farm;

/// <summary>How much is forgiven.</summary>
/// <param name="MaxErrors">Errors reported by live workers after which an item is quarantined.</param>
/// <param name="MaxDeaths">Holders' deaths after which an item runs alone.</param>
/// <param name="MaxDeathsAlone">Further deaths, alone, after which it is quarantined.</param>
public sealed record FaultRules(int MaxErrors = 3, int MaxDeaths = 3, int MaxDeathsAlone = 3);

/// <summary>What becomes of an item after a fault.</summary>
public enum FaultCourse
{
    /// <summary>It is fed again.</summary>
    Again,

    /// <summary>It is fed again, for a batch of its own.</summary>
    Singly,

    /// <summary>It is fed again, for a worker process that does nothing else meanwhile.</summary>
    Alone,

    /// <summary>It is given up.</summary>
    Quarantined,
}

/// <summary>A decision, and what the journal must hold of it.</summary>
/// <param name="Course">What to do.</param>
/// <param name="Reason">One line for the user where it is given up, otherwise the last fault.</param>
/// <param name="Record">The item's counts from now on: to be journalled.</param>
public readonly record struct FaultVerdict(FaultCourse Course, string Reason, FaultRecord Record);

/// <summary>Counts errors and deaths per item and says what becomes of it. State in, decisions out: no clock, no thread, no file.</summary>
/// <remarks>
/// Whoever hosts it journals each <see cref="FaultRecord"/> it gives and hands them back, in order, after a restart (<see cref="Apply"/>);
/// the last one of an item holds. Only items with a fault take memory. Not thread-safe.
/// A condition that is missing and an item that was given back are no faults: nothing is reported here for them.
/// </remarks>
public sealed class FaultLedger(FaultRules? rules = null)
{
    private readonly FaultRules _rules = rules ?? new FaultRules();
    private readonly Dictionary<string, FaultRecord> _records = new(StringComparer.Ordinal);

    /// <summary>Items with faults.</summary>
    public int Count => _records.Count;

    /// <summary>A live worker reported an error: of the item, or of the batch that held it.</summary>
    /// <remarks>After the first one it takes a batch of its own, so that no item is given up for what its neighbours did: all errors but the first are its own.</remarks>
    /// <param name="item">The item as it was handed out.</param>
    /// <param name="reason">One line.</param>
    public FaultVerdict Error(WorkItem item, string reason)
    {
        ArgumentNullException.ThrowIfNull(item);
        FaultRecord known = Known(item.Id);
        int errors = known.Errors + 1;
        return Keep(known with { Errors = errors, IsSingly = true, IsQuarantined = errors >= _rules.MaxErrors, Reason = reason });
    }

    /// <summary>An item's holder died: its lease ran out.</summary>
    /// <param name="item">The item as it was handed out: <see cref="WorkItem.RunsAlone"/> says which deaths are counted.</param>
    public FaultVerdict Death(WorkItem item)
    {
        ArgumentNullException.ThrowIfNull(item);
        FaultRecord known = Known(item.Id);
        FaultRecord next = item.RunsAlone ? known with { DeathsAlone = known.DeathsAlone + 1 } : known with { Deaths = known.Deaths + 1 };
        int all = next.Deaths + next.DeathsAlone;
        bool isOver = next.DeathsAlone >= _rules.MaxDeathsAlone;
        return Keep(next with
        {
            IsQuarantined = known.IsQuarantined || isOver,
            Reason = isOver
                ? $"its worker died {all} times, {next.DeathsAlone} of them with nothing else at work"
                : $"its worker died{(all > 1 ? $" {all} times" : "")}",
        });
    }

    /// <summary>For <see cref="JobCommand.RetryFailed"/>: what was given up gets all its chances again, but alone.</summary>
    public FaultRecord Pardon(string itemId)
    {
        var record = new FaultRecord(itemId, Errors: 0, Deaths: _rules.MaxDeaths, DeathsAlone: 0, IsSingly: true, IsQuarantined: false, Reason: "");
        _records[itemId] = record;
        return record;
    }

    /// <summary>The item is made, or its failure written down: nothing more is to be known of it.</summary>
    /// <param name="record">What to journal: a record without counts.</param>
    /// <returns>False where nothing was known: nothing to journal.</returns>
    public bool Forget(string itemId, [NotNullWhen(true)] out FaultRecord? record)
    {
        record = _records.Remove(itemId) ? FaultRecord.None(itemId) : null;
        return record is not null;
    }

    /// <summary>A job is gone, with all its images.</summary>
    /// <returns>What to journal.</returns>
    public IReadOnlyList<FaultRecord> ForgetJob(string jobId)
    {
        string prefix = $"d/{jobId}/";
        string[] items = [.. _records.Keys.Where(id => id.StartsWith(prefix, StringComparison.Ordinal))];
        Array.ForEach(items, id => _records.Remove(id));
        return [.. items.Select(FaultRecord.None)];
    }

    /// <summary>What is known of an item; null for no faults.</summary>
    public FaultRecord? Find(string itemId) => _records.GetValueOrDefault(itemId);

    /// <summary>An item as it must be fed: alone or singly where its faults ask for it.</summary>
    public T Prepare<T>(T item) where T : WorkItem
    {
        ArgumentNullException.ThrowIfNull(item);
        FaultRecord known = Known(item.Id);
        return (T)(item with { RunsAlone = Course(known) == FaultCourse.Alone, RunsSingly = known.IsSingly });
    }

    /// <summary>Takes a record back from the journal.</summary>
    public void Apply(FaultRecord record)
    {
        ArgumentNullException.ThrowIfNull(record);
        if (record.IsEmpty)
        {
            _records.Remove(record.ItemId);
        }
        else
        {
            _records[record.ItemId] = record;
        }
    }

    /// <summary>All that is known, for the journal's compaction.</summary>
    public IEnumerable<FaultRecord> Snapshot() => _records.Values;

    private FaultRecord Known(string itemId) => _records.GetValueOrDefault(itemId) ?? FaultRecord.None(itemId);

    private FaultVerdict Keep(FaultRecord record)
    {
        _records[record.ItemId] = record;
        return new FaultVerdict(Course(record), record.Reason, record);
    }

    private FaultCourse Course(FaultRecord record) =>
        record.IsQuarantined ? FaultCourse.Quarantined
        : record.Deaths >= _rules.MaxDeaths ? FaultCourse.Alone
        : record.IsSingly ? FaultCourse.Singly
        : FaultCourse.Again;
}
