namespace MetaQuery.Farm;

/// <summary>The first tier: this process' memory, bounded in bytes, least recently used goes first. Not thread-safe.</summary>
internal sealed class ConditionMemory(long budgetBytes)
{
    private readonly Dictionary<ConditionKey, LinkedListNode<(ConditionKey Key, byte[] Condition)>> _entries = [];
    private readonly LinkedList<(ConditionKey Key, byte[] Condition)> _leastRecentFirst = [];

    public long Bytes { get; private set; }

    public long Evictions { get; private set; }

    public byte[]? TryGet(ConditionKey key)
    {
        if (!_entries.TryGetValue(key, out var entry))
        {
            return null;
        }

        _leastRecentFirst.Remove(entry);
        _leastRecentFirst.AddLast(entry);
        return entry.Value.Condition;
    }

    /// <summary>Keeps a condition, unless it alone is larger than the budget.</summary>
    public void Add(ConditionKey key, byte[] condition)
    {
        if (condition.Length > budgetBytes || _entries.ContainsKey(key))
        {
            return;
        }

        _entries[key] = _leastRecentFirst.AddLast((key, condition));
        Bytes += condition.Length;
        while (Bytes > budgetBytes)
        {
            (ConditionKey oldest, byte[] dropped) = _leastRecentFirst.First!.Value;
            _leastRecentFirst.RemoveFirst();
            _entries.Remove(oldest);
            Bytes -= dropped.Length;
            Evictions++;
        }
    }
}
