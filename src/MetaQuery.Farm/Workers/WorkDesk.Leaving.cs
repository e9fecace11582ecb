namespace MetaQuery.Farm;

/// <content>How items leave that no slot finishes: withdrawn, lost, given back.</content>
internal sealed partial class WorkDesk
{
    /// <summary>A job was withdrawn: a batch that holds nothing else is cancelled.</summary>
    public void Withdraw(string jobId)
    {
        lock (_gate)
        {
            _calls.Withdraw(jobId);
        }

        Drop(held => held.Item is DenoiseItem image && image.JobId == jobId);
    }

    /// <summary>Leases that are lost.</summary>
    /// <returns>How many of them were held.</returns>
    public int Lose(IReadOnlyList<Lease> leases)
    {
        var tokens = leases.Select(lease => lease.Token).ToHashSet(StringComparer.Ordinal);
        return tokens.Count == 0 ? 0 : Drop(held => tokens.Contains(held.Lease.Token));
    }

    /// <summary>Takes nothing more and begins nothing more, for good.</summary>
    /// <param name="stop">Whether what is begun is cancelled too.</param>
    /// <returns>What was not begun, to be given back.</returns>
    public IReadOnlyList<HeldItem> Shut(bool stop)
    {
        IReadOnlyList<HeldItem> waiting;
        RunningBatch[] running;
        lock (_gate)
        {
            _isShut = true;
            waiting = _pool.Remove(static _ => true);
            running = stop ? [.. _running] : [];
            Change();
        }

        Array.ForEach(running, batch => batch.Cancel(CancelCause.Stopped));
        return waiting;
    }

    /// <summary>Takes out what waits for slots that all hang: to be given back, so that others make it.</summary>
    public IReadOnlyList<HeldItem> TakeUnservable() => Read(() => HasFreeableSlot ? [] : _pool.Remove(static _ => true));

    private int Drop(Predicate<HeldItem> which)
    {
        HeldItem[] dropped;
        RunningBatch[] useless;
        lock (_gate)
        {
            dropped = [.. _held.Values.Where(held => which(held))];
            foreach (HeldItem item in dropped)
            {
                item.IsGone = true;
                EndFetching(item);
                _held.Remove(item.Lease.Token);
            }

            _pool.Remove(static item => item.IsGone);
            useless = [.. dropped.Select(item => item.Batch).OfType<RunningBatch>().Distinct().Where(batch => batch.Rows.All(row => row.IsGone))];
            Change();
        }

        Array.ForEach(useless, batch => batch.Cancel(CancelCause.AllGone));
        return dropped.Length;
    }
}
