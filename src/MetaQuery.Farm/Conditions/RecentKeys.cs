namespace MetaQuery.Farm;

/// <summary>The last so many keys, by half their hash. Not thread-safe.</summary>
internal sealed class RecentKeys(int most)
{
    private readonly HashSet<UInt128> _keys = [];
    private readonly Queue<UInt128> _oldestFirst = new();

    /// <returns>False where it is among them already.</returns>
    public bool Add(ConditionKey key)
    {
        if (!_keys.Add(key.Prefix))
        {
            return false;
        }

        _oldestFirst.Enqueue(key.Prefix);
        if (_oldestFirst.Count > most)
        {
            _keys.Remove(_oldestFirst.Dequeue());
        }

        return true;
    }
}
