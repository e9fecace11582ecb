namespace MetaQuery.Farm;

/// <summary>Keeps the desk supplied: leases items ahead of the slots and fetches their conditions while the present batches run.</summary>
internal sealed class WorkFeeder(
    IWorkQueue queue, WorkerInfo worker, ConditionCache cache, WorkDesk desk, ReportSender reports, WorkerTally tally, WorkerOptions options, SharedProcess process)
{
    private static readonly TimeSpan PutOffFor = TimeSpan.FromMilliseconds(50);

    /// <summary>Leases items of one role until nothing more is to be begun.</summary>
    /// <param name="role">One of the two.</param>
    /// <param name="interactiveOnly">Those that somebody waits for, while the desk is full of others.</param>
    /// <param name="shut">Fires with the desk's end, so that a call for work does not hold it up.</param>
    public async Task LeaseAsync(WorkRoles role, bool interactiveOnly, CancellationToken shut)
    {
        Backoff backoff = Outage.Backoff(options);
        while (!desk.IsShut)
        {
            Task changed = desk.Changed;
            if (desk.BeginLease(role, interactiveOnly) is not { } call)
            {
                await changed.WaitAsync(shut);
                continue;
            }

            IReadOnlyList<Lease> leases = [];
            bool isOutage = false;
            try
            {
                // the first call after work does not wait: only its answer tells that short batches need not wait for more
                TimeSpan wait = interactiveOnly || desk.IsDry(role) ? options.LeaseWait : TimeSpan.Zero;
                var request = new LeaseRequest(worker.Id, worker.Lane, role, call.Most, wait) { IsInteractiveOnly = interactiveOnly };
                leases = await queue.LeaseAsync(request, shut);
            }
            catch (Exception exception) when (Outage.IsOne(exception, options))
            {
                isOutage = true;
            }
            finally
            {
                (IReadOnlyList<HeldItem> held, IReadOnlyList<HeldItem> doubtful) = desk.EndLease(call, leases);
                await ClearUpAsync(doubtful);
                foreach (HeldItem item in held)
                {
                    await PrepareAsync(item, shut);
                }
            }

            if (isOutage)
            {
                await backoff.WaitAsync(shut);
            }
            else
            {
                backoff.Reset();
            }
        }
    }

    private WorkRoles AloneRoles => worker.Roles & ~desk.RestingRoles;

    /// <summary>Looks again at prompts that others were encoding, or whose pictures could not be had.</summary>
    public async Task LookAgainAsync(CancellationToken shut)
    {
        while (!desk.IsShut)
        {
            await Task.Delay(PutOffFor, options.Clock, shut);
            desk.EndRest();
            foreach (HeldItem item in desk.TakePutOff())
            {
                await PrepareAsync(item, shut);
            }
        }
    }

    /// <summary>Now and then finishes all that is held, and then makes what killed its holders, with nothing else at work.</summary>
    public async Task RunAloneAsync(CancellationToken shut)
    {
        while (!desk.IsShut)
        {
            await Task.Delay(options.AloneEvery, options.Clock, shut);
            long start = options.Clock.GetTimestamp();
            bool isAlone = false;
            try
            {
                if (desk.CanServe && AloneRoles is not WorkRoles.None and var roles && await queue.HasAloneAsync(worker.Lane, roles, shut) && (isAlone = await process.TryBeginAsync(shut)))
                {
                    await TakeTurnAsync(start, shut);
                }
            }
            catch (Exception exception) when (Outage.IsOne(exception, options))
            {
                // looked at again with the next turn
            }
            finally
            {
                if (isAlone)
                {
                    process.End();
                }
            }

            await Task.Delay(options.Clock.GetElapsedTime(start), options.Clock, shut); // as long again for everything else
        }
    }

    private async Task TakeTurnAsync(long start, CancellationToken shut)
    {
        while (options.Clock.GetElapsedTime(start) < options.LeaseTime
            && AloneRoles is not WorkRoles.None and var roles && await queue.LeaseAloneAsync(worker.Id, worker.Lane, roles, shut) is { } lease)
        {
            await PrepareAsync(desk.HoldAlone(lease), shut);
            await EmptyAsync(shut);
        }
    }

    private async Task EmptyAsync(CancellationToken shut)
    {
        while (true)
        {
            Task changed = desk.Changed;
            if (desk.IsEmpty)
            {
                return;
            }

            await changed.WaitAsync(shut);
        }
    }

    /// <summary>Items of a job that was withdrawn while they were being leased: whether they were leased before it or after, the queue knows.</summary>
    private async Task ClearUpAsync(IReadOnlyList<HeldItem> doubtful)
    {
        if (doubtful.Count == 0)
        {
            return;
        }

        try
        {
            int lost = desk.Lose(await queue.RenewAsync(worker.Id, [.. doubtful.Select(item => item.Lease)], CancellationToken.None));
            tally.Change(counts => counts with { LostLeases = counts.LostLeases + lost });
        }
        catch (Exception exception) when (Outage.IsOne(exception, options))
        {
            // the next heartbeat asks again
        }
    }

    /// <summary>Gets an item ready for a slot, or reports what makes a slot needless.</summary>
    private async Task PrepareAsync(HeldItem item, CancellationToken shut)
    {
        Backoff backoff = Outage.Backoff(options);
        while (!item.IsGone)
        {
            try
            {
                WorkOutcome? outcome = item.Item is EncodeItem prompt ? Find(prompt) : Fetch(item, (DenoiseItem)item.Item);
                if (outcome is not null)
                {
                    desk.StopFetching(item);
                    reports.Send(item, outcome);
                }
                else if (!desk.TryPool(item))
                {
                    reports.Send(item, new ReturnedOutcome());
                }

                return;
            }
            catch (Exception exception) when (Outage.IsOne(exception, options))
            {
                if (desk.IsShut)
                {
                    reports.Send(item, new ReturnedOutcome());
                    return;
                }
            }

            await backoff.WaitAsync(CancellationToken.None);
        }
    }

    private EncodedOutcome? Find(EncodeItem item) =>
        cache.TryPublish(new ConditionLookup(item.Key, item.Request, item.KeepOnDisk)) ? new EncodedOutcome(WasMade: false) : null;

    private MissingConditionOutcome? Fetch(HeldItem held, DenoiseItem item)
    {
        if (cache.TryFind(item.Condition) is not { } condition)
        {
            return new MissingConditionOutcome(item.Condition);
        }

        byte[]? negative = null;
        if (item.Negative is { } key && (negative = cache.TryFind(key)) is null)
        {
            return new MissingConditionOutcome(key);
        }

        byte[]? images = null;
        if (item.ImageCondition is { } also && (images = cache.TryFind(also)) is null)
        {
            return new MissingConditionOutcome(also);
        }

        held.Conditions = new PromptConditions(condition, negative ?? ReadOnlyMemory<byte>.Empty, images ?? ReadOnlyMemory<byte>.Empty);
        return null;
    }
}
