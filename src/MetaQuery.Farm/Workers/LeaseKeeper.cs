namespace MetaQuery.Farm;

/// <summary>The worker's heart: keeps leases and its place in the registry alive, three times within a lease.</summary>
internal sealed class LeaseKeeper(
    IWorkQueue queue, IWorkerRegistry registry, WorkerInfo worker, WorkDesk desk, ReportSender reports, WorkerTally tally, WorkerOptions options)
{
    /// <summary>Joins; waits where the registry cannot be reached.</summary>
    /// <exception cref="ModelMismatchException">The head's jobs are for another model.</exception>
    public async Task JoinAsync(CancellationToken cancellationToken)
    {
        Backoff backoff = Outage.Backoff(options);
        while (true)
        {
            try
            {
                await registry.JoinAsync(worker, cancellationToken);
                return;
            }
            catch (Exception exception) when (Outage.IsOne(exception, options))
            {
                await backoff.WaitAsync(cancellationToken);
            }
        }
    }

    /// <param name="status">What the registry is told.</param>
    /// <param name="drain">Called when the registry asks for it.</param>
    /// <param name="end">Ends it.</param>
    /// <exception cref="ModelMismatchException">The head's jobs are for another model by now.</exception>
    public async Task RunAsync(Func<WorkerStatus> status, Action drain, CancellationToken end)
    {
        Backoff backoff = Outage.Backoff(options);
        TimeSpan next = TimeSpan.Zero;
        bool mustJoin = false;
        while (true)
        {
            await Task.Delay(next, options.Clock, end);
            next = options.LeaseTime / 3;
            ReportStuck();
            try
            {
                await RenewAsync(end);
                if (mustJoin)
                {
                    await registry.JoinAsync(worker, end);
                }

                mustJoin = true; // a registry that forgot this worker throws: the worker joins again
                if (await registry.HeartbeatAsync(worker.Id, status(), end))
                {
                    drain();
                }

                mustJoin = false;
                backoff.Reset();
            }
            catch (Exception exception) when (Outage.IsOne(exception, options))
            {
                next = backoff.Next();
            }
        }
    }

    /// <summary>Leaves. Where that cannot be said, silence says it a lease's time later.</summary>
    public async Task LeaveAsync()
    {
        try
        {
            await registry.LeaveAsync(worker.Id, CancellationToken.None);
        }
        catch (Exception exception) when (Outage.IsOne(exception, options))
        {
            // silence is the other way to leave
        }
    }

    private async Task RenewAsync(CancellationToken end)
    {
        IReadOnlyList<Lease> leases = desk.Leases;
        if (leases.Count > 0)
        {
            int lost = desk.Lose(await queue.RenewAsync(worker.Id, leases, end));
            tally.Change(counts => counts with { LostLeases = counts.LostLeases + lost });
        }
    }

    private void ReportStuck()
    {
        foreach (RunningBatch batch in desk.Stuck)
        {
            batch.Flights?.GiveUp();
            IReadOnlyList<HeldItem> rows = desk.RowsOf(batch);
            foreach (HeldItem row in rows)
            {
                reports.Send(row, new FailedOutcome($"the batch {batch.Lateness} and did not stop when it was told to", rows.Count));
            }
        }

        foreach (HeldItem item in desk.TakeUnservable())
        {
            reports.Send(item, new ReturnedOutcome());
        }
    }
}
