using MetaQuery.Data;

namespace MetaQuery.Farm;

/// <content>From the jobs to the queue.</content>
internal sealed partial class Dispatcher
{
    // encoders work best on full batches: once a job's conditions run short it asks for this many prompts' more
    private const int PromptsAtOnce = 32;
    private static readonly TimeSpan FeedAtLeastEvery = TimeSpan.FromMilliseconds(100);

    private async Task FeedLoopAsync()
    {
        while (!_stop.IsCancellationRequested)
        {
            try
            {
                foreach (FeedLane lane in _lanes.Values)
                {
                    await FeedLaneAsync(lane).ConfigureAwait(false);
                }

                _troubles.Queue("feed", null);
            }
            catch (OperationCanceledException) when (_stop.IsCancellationRequested)
            {
                return;
            }
            catch (Exception exception) when (exception is WorkQueueException or StorageException)
            {
                _troubles.Queue("feed", exception.Message);
                await PauseAsync(_options.LookEvery).ConfigureAwait(false);
            }

            try
            {
                await _hungry.WaitAsync(FeedAtLeastEvery, _stop.Token).ConfigureAwait(false);
            }
            catch (OperationCanceledException)
            {
                return;
            }
        }
    }

    private async Task FeedLaneAsync(FeedLane lane)
    {
        var unmade = new HashSet<JobSession>();
        var unreadable = new List<(JobSession Session, Exception Reason)>();
        await _feeding.WaitAsync(_stop.Token).ConfigureAwait(false);
        try
        {
            await FeedAsync(lane, unmade, unreadable).ConfigureAwait(false);
        }
        finally
        {
            _feeding.Release();
            if (unmade.Count > 0)
            {
                await SettleAsync(unmade).ConfigureAwait(false); // may wait for the disk: not while whoever calls a job back waits for the feeding
            }

            foreach ((JobSession session, Exception reason) in unreadable)
            {
                await FailAsync(session, reason).ConfigureAwait(false);
            }
        }
    }

    /// <param name="lane">Which.</param>
    /// <param name="unmade">Gets the jobs with prompts that cannot be made, to be settled afterwards.</param>
    /// <param name="unreadable">Gets the jobs whose prompts cannot be read, to be failed afterwards.</param>
    private async Task FeedAsync(FeedLane lane, HashSet<JobSession> unmade, List<(JobSession Session, Exception Reason)> unreadable)
    {
        IReadOnlyList<JobSession> fed = lane.Fed;
        if ((fed.Count == 0 && lane.EncodeAgain.IsEmpty) || _troubles.IsDiskAway)
        {
            lane.Waits(0);
            return;
        }

        LaneDepth depth = await _feed.DepthAsync(lane.Name, _stop.Token).ConfigureAwait(false);
        lane.Waits(depth.WaitingEncode + depth.WaitingDenoise);
        long target = TargetDepth(lane, fed);
        List<WorkItem> items = [];
        while (lane.EncodeAgain.TryDequeue(out EncodeItem? again))
        {
            items.Add(Prepared(again));
        }

        foreach (JobSession session in fed)
        {
            try
            {
                long burst = Math.Min(8 * target, (long)PromptsAtOnce * session.Plan.Settings.ImagesPerPrompt);
                if (session.PlanAhead(target, target + burst))
                {
                    unmade.Add(session);
                }
            }
            catch (Exception exception) when (exception is PromptFileException or IOException or UnauthorizedAccessException)
            {
                lane.Remove(session);
                unreadable.Add((session, exception));
                continue;
            }

            while (session.NextEncode(_desk) is { } item)
            {
                items.Add(Prepared(item));
            }
        }

        for (long free = target - depth.WaitingDenoise; free > 0 && lane.Next() is { } image; free--)
        {
            items.Add(Prepared(image));
        }

        if (items.Count == 0)
        {
            return;
        }

        try
        {
            await _feed.FeedAsync(lane.Name, items, _stop.Token).ConfigureAwait(false);
            lane.WasFed(items.Count);
        }
        catch (WorkQueueException)
        {
            // some may have reached the queue: what is done twice changes nothing
            foreach (WorkItem item in items)
            {
                Again(item);
            }

            throw;
        }
    }

    /// <summary>Images that should wait in a lane's queue: a few seconds of its rate, and two batches a slot at least.</summary>
    private long TargetDepth(FeedLane lane, IReadOnlyList<JobSession> fed)
    {
        int slots = 0;
        foreach (WorkerView worker in _live)
        {
            if (worker.Info.Lane == lane.Name && worker.Info.Roles.HasFlag(WorkRoles.Dit) && worker.Status.State == WorkerState.Running)
            {
                slots += worker.Info.Slots;
            }
        }

        int batch = fed.Count == 0 ? 1 : fed.Max(session => session.Plan.Settings.BatchSize);
        return Math.Max(2L * Math.Max(1, slots) * batch, (long)(lane.Rate.PerSecond * _options.FeedAhead.TotalSeconds));
    }

    private T Prepared<T>(T item)
        where T : WorkItem
    {
        lock (_ledger)
        {
            return _ledger.Prepare(item);
        }
    }

    /// <summary>An item comes back to be fed again.</summary>
    private void Again(WorkItem item)
    {
        item = item with { Attempt = item.Attempt + 1 };
        if (item is DenoiseItem image)
        {
            Find(image.JobId)?.TakeBack(image);
        }
        else if (item is EncodeItem encode)
        {
            if (_desk.LaneOf(encode.Key) is { } lane && _lanes.TryGetValue(lane, out FeedLane? known))
            {
                known.EncodeAgain.Enqueue(encode);
            }
        }
    }
}
