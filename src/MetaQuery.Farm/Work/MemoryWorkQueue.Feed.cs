using System.Globalization;

namespace MetaQuery.Farm;

/// <content>The queue as the head sees it.</content>
public sealed partial class MemoryWorkQueue
{
    public ValueTask FeedAsync(string lane, IReadOnlyList<WorkItem> items, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(items);
        cancellationToken.ThrowIfCancellationRequested();
        var signals = new List<TaskCompletionSource>();
        lock (_gate)
        {
            foreach (WorkItem item in items)
            {
                if (StreamOf(lane, item.Role).Add(item) is { } signal && !signals.Contains(signal))
                {
                    signals.Add(signal);
                }
            }
        }

        signals.ForEach(signal => signal.TrySetResult());
        return ValueTask.CompletedTask;
    }

    public async ValueTask<IReadOnlyList<ReceivedReport>> ReceiveAsync(int most, TimeSpan wait, CancellationToken cancellationToken)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(most, 1);
        long start = _clock.GetTimestamp();
        while (true)
        {
            Task arrival;
            lock (_gate)
            {
                if (_reports.Count > 0)
                {
                    var received = new List<ReceivedReport>(Math.Min(most, _reports.Count));
                    while (received.Count < most && _reports.TryDequeue(out (string Lane, ReceivedReport Report) next))
                    {
                        _unconfirmed.Add(next.Report.Receipt, next);
                        received.Add(next.Report);
                    }

                    return received;
                }

                arrival = _reported.Task;
            }

            if (!await Came(arrival, wait - _clock.GetElapsedTime(start), cancellationToken))
            {
                return [];
            }
        }
    }

    public ValueTask ConfirmAsync(IReadOnlyList<ReceivedReport> reports, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(reports);
        cancellationToken.ThrowIfCancellationRequested();
        lock (_gate)
        {
            foreach (ReceivedReport report in reports)
            {
                _unconfirmed.Remove(report.Receipt);
            }
        }

        return ValueTask.CompletedTask;
    }

    public ValueTask<IReadOnlyList<WorkItem>> ReclaimAsync(CancellationToken cancellationToken)
    {
        cancellationToken.ThrowIfCancellationRequested();
        lock (_gate)
        {
            List<Held> silent = [.. _held.Values.Where(held => _clock.GetElapsedTime(held.RenewedAt) > LeaseTime).OrderBy(held => held.Number)];
            WorkItem[] orphans = [.. _orphans];
            End(silent, withOrphans: orphans.Length > 0);
            _orphans = [];
            return ValueTask.FromResult<IReadOnlyList<WorkItem>>([.. orphans, .. silent.Select(held => held.Item)]);
        }
    }

    public ValueTask<IReadOnlyList<WorkItem>> RecoverAsync(CancellationToken cancellationToken)
    {
        cancellationToken.ThrowIfCancellationRequested();
        lock (_gate)
        {
            foreach (MemoryLane stream in _streams.Values)
            {
                stream.Clear();
            }

            // a head before this one, in the same process, received these and confirmed none
            (string, ReceivedReport)[] open = [.. _unconfirmed.Values.OrderBy(entry => long.Parse(entry.Report.Receipt, CultureInfo.InvariantCulture)), .. _reports];
            _unconfirmed.Clear();
            _reports.Clear();
            Array.ForEach(open, _reports.Enqueue);
            return ValueTask.FromResult<IReadOnlyList<WorkItem>>([.. _orphans, .. _held.Values.OrderBy(held => held.Number).Select(held => held.Item)]);
        }
    }

    public ValueTask WithdrawAsync(string jobId, CancellationToken cancellationToken)
    {
        cancellationToken.ThrowIfCancellationRequested();
        Action<string>[] callbacks;
        lock (_gate)
        {
            End([.. _held.Values.Where(held => held.Item is DenoiseItem item && item.JobId == jobId)]);
            foreach (MemoryLane stream in _streams.Values)
            {
                stream.Withdraw(jobId);
            }

            callbacks = [.. _onWithdrawn];
        }

        Array.ForEach(callbacks, callback => callback(jobId));
        return ValueTask.CompletedTask;
    }

    /// <summary>Never: what memory loses, the process loses with it.</summary>
    public ValueTask<bool> HasLostItemsAsync(CancellationToken cancellationToken) => ValueTask.FromResult(false);

    public ValueTask<LaneDepth> DepthAsync(string lane, CancellationToken cancellationToken)
    {
        cancellationToken.ThrowIfCancellationRequested();
        lock (_gate)
        {
            return ValueTask.FromResult(new LaneDepth(
                Waiting(WorkRoles.Mllm), Waiting(WorkRoles.Dit), _held.Values.Count(held => held.Lane == lane),
                _reports.Count(entry => entry.Lane == lane) + _unconfirmed.Values.Count(entry => entry.Lane == lane)));
        }

        long Waiting(WorkRoles role) => _streams.TryGetValue((lane, role), out MemoryLane? stream) ? stream.Waiting : 0;
    }
}
