namespace MetaQuery.Farm;

/// <summary>A place for conditions beyond this process' memory. Thread-safe; shared with other processes.</summary>
public interface IConditionTier
{
    /// <summary>For counters: <c>redis</c> or <c>disk</c>.</summary>
    string Name { get; }

    /// <summary>Bytes held, as far as this process knows.</summary>
    long Bytes { get; }

    /// <summary>Conditions that this process dropped from it to keep its budget.</summary>
    long Evictions => 0;

    /// <summary>Whether every condition goes here, for other processes to find; otherwise only those that are wanted again long after.</summary>
    bool KeepsAll => true;

    /// <returns>The condition; or null where there is none, with <paramref name="isCorrupt"/> true where a damaged one was removed.</returns>
    byte[]? TryRead(ConditionKey key, out bool isCorrupt);

    /// <summary>Keeps a condition within the tier's budget.</summary>
    void Write(ConditionKey key, ReadOnlySpan<byte> condition);
}

/// <summary>Lets one process of the farm make a condition while the others wait for it.</summary>
public interface IFlightBoard
{
    /// <summary>Takes the right to make a condition, for a limited time.</summary>
    /// <returns>Null where another process has it; otherwise the right, given back by Dispose.</returns>
    IDisposable? TryTake(ConditionKey key);
}
