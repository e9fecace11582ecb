namespace MetaQuery.Farm;

/// <content>Batches that fail one after the other: it may be this process that is sick, and not their items.</content>
internal sealed partial class WorkDesk
{
    private const int SuspiciousFailures = 3; // as many errors as give an item up: they must not all come from a process like that

    private readonly Dictionary<WorkRoles, (int Batches, string Reason)> _failing = [];
    private readonly Dictionary<WorkRoles, long> _failureRests = [];
    private WorkRoles _failuresTold;

    /// <summary>Why nothing comes of its batches just now, in one line; null where something does.</summary>
    public string? Trouble => Read(() =>
    {
        foreach ((WorkRoles role, (int batches, string reason)) in _failing)
        {
            if (batches >= SuspiciousFailures)
            {
                return $"its last {batches} batches of {(role == WorkRoles.Mllm ? "prompts" : "images")} failed, the last with: {reason}";
            }
        }

        return HasFreeableSlot ? null : "its slots hang in batches that did not stop when they were told to";
    });

    /// <summary>Roles of which nothing is taken for a while, so that others have it.</summary>
    public WorkRoles RestingRoles => Read(() => (IsRestingNow(WorkRoles.Mllm) ? WorkRoles.Mllm : WorkRoles.None) | (IsRestingNow(WorkRoles.Dit) ? WorkRoles.Dit : WorkRoles.None));

    /// <summary>A batch was computed: the next failure is the first.</summary>
    public void Succeed(WorkRoles role)
    {
        lock (_gate)
        {
            _failing.Remove(role);
            _failuresTold &= ~role;
        }
    }

    /// <summary>A batch failed, and not for being late.</summary>
    /// <returns>Whether this process is suspect: the batch is one of at least three that failed with none computed between.</returns>
    public bool Fail(WorkRoles role, string reason)
    {
        lock (_gate)
        {
            int batches = _failing.GetValueOrDefault(role).Batches + 1;
            _failing[role] = (batches, reason);
            return batches >= SuspiciousFailures;
        }
    }

    /// <summary>Takes nothing of a role for a lease's time.</summary>
    /// <returns>What waits here for a slot, to be given back.</returns>
    public IReadOnlyList<HeldItem> Rest(WorkRoles role)
    {
        lock (_gate)
        {
            if (!_failing.TryGetValue(role, out (int Batches, string Reason) failing))
            {
                return []; // another slot has computed one meanwhile
            }

            _failureRests[role] = _options.Clock.GetTimestamp();
            if (!_failuresTold.HasFlag(role))
            {
                _failuresTold |= role;
                _options.Log.WorkerFails(failing.Batches, role, _options.LeaseTime, failing.Reason);
            }

            IReadOnlyList<HeldItem> waiting = _pool.Remove(item => item.Item.Role == role);
            Change();
            return waiting;
        }
    }

    private void EndFailureRests()
    {
        foreach ((WorkRoles role, long since) in _failureRests)
        {
            if (_options.Clock.GetElapsedTime(since) >= _options.LeaseTime)
            {
                _failureRests.Remove(role);
                Change();
            }
        }
    }

    private bool IsRestingNow(WorkRoles role) => _failureRests.ContainsKey(role) || (role == WorkRoles.Mllm && _restingSince is not null);
}
