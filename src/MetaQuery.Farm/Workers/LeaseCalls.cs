namespace MetaQuery.Farm;

/// <summary>A call for work that is under way.</summary>
/// <param name="Role">Whose.</param>
/// <param name="IsInteractiveOnly">Beside the usual one.</param>
/// <param name="Most">Items wanted.</param>
/// <param name="WithdrawalsBefore">How many withdrawals had been heard of when it began.</param>
internal sealed record LeaseCall(WorkRoles Role, bool IsInteractiveOnly, int Most, long WithdrawalsBefore);

/// <summary>Calls for work that are under way, and the jobs withdrawn meanwhile: whether their items were leased before that or after, the answer does not tell. Not thread-safe.</summary>
internal sealed class LeaseCalls
{
    private readonly List<LeaseCall> _open = [];
    private readonly List<(long Number, string JobId)> _withdrawn = [];
    private long _withdrawals;

    public bool IsEmpty => _open.Count == 0;

    public LeaseCall Begin(WorkRoles role, bool isInteractiveOnly, int most)
    {
        var call = new LeaseCall(role, isInteractiveOnly, most, _withdrawals);
        _open.Add(call);
        return call;
    }

    public void Withdraw(string jobId)
    {
        if (!IsEmpty)
        {
            _withdrawn.Add((++_withdrawals, jobId));
        }
    }

    /// <returns>Jobs withdrawn while the call was under way.</returns>
    public IReadOnlySet<string> End(LeaseCall call)
    {
        _open.Remove(call);
        var jobs = _withdrawn.Where(job => job.Number > call.WithdrawalsBefore).Select(job => job.JobId).ToHashSet(StringComparer.Ordinal);
        _withdrawn.RemoveAll(job => _open.TrueForAll(open => open.WithdrawalsBefore >= job.Number));
        return jobs;
    }
}
