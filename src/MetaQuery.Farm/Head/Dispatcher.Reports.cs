using MetaQuery.Data;

namespace MetaQuery.Farm;

/// <content>From the queue to the jobs.</content>
internal sealed partial class Dispatcher
{
    private const int ReportsAtOnce = 1024;
    private static readonly TimeSpan ReceiveWait = TimeSpan.FromSeconds(1);

    private readonly Dictionary<string, IReadOnlyList<DenoiseItem>> _leasedBefore = new(StringComparer.Ordinal);
    private readonly List<FaultRecord> _faults = [];
    private long _reclaimed;
    private long _written;
    private long _failed;
    private long _damaged;

    private async Task ReceiveLoopAsync()
    {
        while (!_stop.IsCancellationRequested)
        {
            try
            {
                IReadOnlyList<ReceivedReport> reports = await _feed.ReceiveAsync(ReportsAtOnce, ReceiveWait, _stop.Token).ConfigureAwait(false);
                if (reports.Count == 0)
                {
                    _troubles.Queue("receive", null);
                    continue;
                }

                foreach (ReceivedReport report in reports)
                {
                    if (report is { Outcome: DenoisedOutcome made, Item: DenoiseItem image } && made.Sample.Position == image.Position)
                    {
                        Find(image.JobId)?.Reported(image.Position);
                    }
                }

                var touched = new HashSet<JobSession>();
                foreach (ReceivedReport report in reports)
                {
                    JobSession? session = report is { Outcome: DenoisedOutcome, Item: DenoiseItem item } ? Find(item.JobId) : null;
                    await TryOnDiskAsync(() => Take(report, touched), session).ConfigureAwait(false);
                }

                await SettleAsync(touched).ConfigureAwait(false);
                await _feed.ConfirmAsync(reports, _stop.Token).ConfigureAwait(false);
                _troubles.Queue("receive", null);
                Hurry();
            }
            catch (OperationCanceledException) when (_stop.IsCancellationRequested)
            {
                return;
            }
            catch (Exception exception) when (exception is WorkQueueException or StorageException)
            {
                _troubles.Queue("receive", exception.Message);
                await PauseAsync(_options.LookEvery).ConfigureAwait(false);
            }
        }
    }

    /// <summary>Takes back what dead workers hold, sees which workers are there and whether the queue lost what it held.</summary>
    private async Task LookLoopAsync()
    {
        while (!_stop.IsCancellationRequested)
        {
            try
            {
                TimeSpan gone = _feed.LeaseTime;
                SeeWorkers([.. (await _workers.ListAsync(_stop.Token).ConfigureAwait(false)).Where(worker => worker.SinceHeartbeat <= gone)]);
                if (await _feed.HasLostItemsAsync(_stop.Token).ConfigureAwait(false))
                {
                    _options.Log.QueueLostItems();
                    FeedAllAgain();
                }

                IReadOnlyList<WorkItem> orphans = await _feed.ReclaimAsync(_stop.Token).ConfigureAwait(false);
                foreach (WorkItem item in _feed.TakeDoubtful())
                {
                    Again(item);
                }

                if (orphans.Count > 0)
                {
                    Interlocked.Add(ref _reclaimed, orphans.Count);
                    _options.Log.ItemsReclaimed(orphans.Count);
                    var touched = new HashSet<JobSession>();
                    foreach (WorkItem item in orphans)
                    {
                        Decide(item, ledger => ledger.Death(item), touched);
                    }

                    await SettleAsync(touched).ConfigureAwait(false);
                }

                foreach (FeedLane lane in _lanes.Values)
                {
                    lane.Weigh(tenant => _options.Tenants.RulesOf(tenant).Weight);
                }

                _troubles.Queue("look", null);
                Hurry();
            }
            catch (OperationCanceledException) when (_stop.IsCancellationRequested)
            {
                return;
            }
            catch (Exception exception) when (exception is WorkQueueException or StorageException)
            {
                _troubles.Queue("look", exception.Message);
            }

            await PauseAsync(_options.LookEvery).ConfigureAwait(false);
        }
    }

    private void SeeWorkers(IReadOnlyList<WorkerView> live)
    {
        WorkerView[] joined = [.. live.ExceptBy(_live.Select(worker => worker.Info.Id), worker => worker.Info.Id, StringComparer.Ordinal)];
        WorkerView[] gone = [.. _live.ExceptBy(live.Select(worker => worker.Info.Id), worker => worker.Info.Id, StringComparer.Ordinal)];
        bool isChanged = joined.Length + gone.Length > 0 || !live.Select(worker => worker.Status.State).SequenceEqual(_live.Select(worker => worker.Status.State));
        _live = live;
        _workerTotals.Take(live);
        foreach (WorkerInfo worker in joined.Select(worker => worker.Info))
        {
            _options.Log.WorkerJoined(worker.Id, worker.Roles, worker.Slots, worker.Device, worker.Lane);
        }

        Array.ForEach(gone, worker => _options.Log.WorkerGone(worker.Info.Id));
        if (isChanged)
        {
            _host.WorkersChanged();
        }
    }

    /// <summary>One report's effect. Only a sample's commit touches the disk, before anything else changes: it may be called again.</summary>
    private void Take(ReceivedReport report, HashSet<JobSession> touched)
    {
        switch (report.Outcome, report.Item)
        {
            case (DenoisedOutcome made, DenoiseItem image):
                Commit(image, made.Sample, touched);
                break;
            case (EncodedOutcome encoded, EncodeItem item):
                foreach (string jobId in _desk.Made(item.Key, encoded.WasMade))
                {
                    Find(jobId)?.Encoded(item.Key);
                }

                Forget(item.Id);
                break;
            case (FailedOutcome failed, _):
                Decide(report.Item, ledger => ledger.Error(report.Item, failed.Reason), touched);
                break;
            case (MissingConditionOutcome missing, DenoiseItem image):
                _desk.Lost(missing.Key);
                Find(image.JobId)?.MissingCondition(image with { Attempt = image.Attempt + 1 }, missing.Key);
                break;
            default: // given back, or an outcome that does not fit its item
                Again(report.Item);
                break;
        }
    }

    private void Commit(DenoiseItem image, FinishedSample sample, HashSet<JobSession> touched)
    {
        if (Find(image.JobId) is not { } session)
        {
            return; // deleted, cancelled or failed meanwhile
        }

        if (sample.Position != image.Position || image.Position >= session.Plan.ImageCount)
        {
            Decide(image, ledger => ledger.Error(image, $"a worker reported sample {sample.Position} for image {image.Position}"), touched);
            return;
        }

        if (session.Commit(sample))
        {
            Interlocked.Increment(ref _written);
        }

        touched.Add(session);
        LaneOf(session).Rate.Add(1);
        Forget(image.Id);
    }

    private void Decide(WorkItem item, Func<FaultLedger, FaultVerdict> fault, HashSet<JobSession> touched)
    {
        FaultVerdict verdict;
        lock (_ledger)
        {
            verdict = fault(_ledger);
            _faults.Add(verdict.Record);
        }

        if (verdict.Course != FaultCourse.Quarantined)
        {
            Again(item);
            return;
        }

        _options.Log.ItemGivenUp(item.Id, verdict.Reason);
        if (verdict.Record is { Deaths: 0, DeathsAlone: 0 })
        {
            Forget(item.Id); // its failure is written down; what has killed is remembered, to run alone if it is tried again
        }

        if (item is DenoiseItem image)
        {
            if (Find(image.JobId) is { } session)
            {
                session.Abandon(image, verdict.Reason);
                touched.Add(session);
            }
        }
        else if (item is EncodeItem encode)
        {
            foreach (string jobId in _desk.Failed(encode.Key))
            {
                if (Find(jobId) is { } session && session.EncodeFailed(encode.Key, verdict.Reason))
                {
                    touched.Add(session);
                }
            }

            Forget(item.Id); // who asks for it later has all chances again
        }
    }

    private void Forget(string itemId)
    {
        lock (_ledger)
        {
            if (_ledger.Forget(itemId, out FaultRecord? record))
            {
                _faults.Add(record);
            }
        }
    }

    /// <summary>The queue came back empty: everything that is out is fed again.</summary>
    private void FeedAllAgain()
    {
        foreach (JobSession session in _sessions.Values)
        {
            session.TakeAllBack();
        }

        foreach (EncodeItem item in _desk.ListPending())
        {
            Again(item);
        }
    }
}
