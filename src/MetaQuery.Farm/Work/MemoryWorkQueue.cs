using System.Globalization;
using MetaQuery.Data;

namespace MetaQuery.Farm;

/// <summary>The queue in memory: for workers in the head's own process.</summary>
/// <remarks>
/// Thread-safe. With a journal, what was leased when the process died is known to the next one: <see cref="RecoverAsync"/> names it, and the
/// first <see cref="ReclaimAsync"/> gives it as taken back from the dead. Waiting items and reports are not journalled: the head knows its open items.
/// A lease that has run out is lost once <see cref="ReclaimAsync"/> has taken it back, not before.
/// </remarks>
public sealed partial class MemoryWorkQueue : IWorkQueue, IWorkFeed, IDisposable
{
    private readonly Lock _gate = new();
    private readonly TimeProvider _clock;
    private readonly LeaseJournal? _journal;
    private readonly Dictionary<(string Lane, WorkRoles Role), MemoryLane> _streams = [];
    private readonly Dictionary<string, Held> _held = new(StringComparer.Ordinal);
    private readonly Queue<(string Lane, ReceivedReport Report)> _reports = new();
    private readonly Dictionary<string, (string Lane, ReceivedReport Report)> _unconfirmed = new(StringComparer.Ordinal);
    private readonly List<Action<string>> _onWithdrawn = [];
    private List<WorkItem> _orphans = [];
    private TaskCompletionSource _reported = NewSignal();
    private long _tokens;
    private long _receipts;
    private long _refused;

    /// <param name="leaseTime">How long a lease lasts without a heartbeat.</param>
    /// <param name="clock">For lease times and waits.</param>
    /// <param name="journalPath">File that lets leases outlive this process; null for none.</param>
    /// <exception cref="StorageException">The journal cannot be opened.</exception>
    /// <exception cref="JournalDamagedException">The journal is damaged, or a newer version's.</exception>
    public MemoryWorkQueue(TimeSpan leaseTime, TimeProvider? clock = null, string? journalPath = null)
    {
        ArgumentOutOfRangeException.ThrowIfLessThanOrEqual(leaseTime, TimeSpan.Zero);
        LeaseTime = leaseTime;
        _clock = clock ?? TimeProvider.System;
        if (journalPath is not null)
        {
            _journal = LeaseJournal.Open(journalPath);
            _orphans = [.. _journal.Orphans];
            _tokens = _journal.LastNumber;
        }
    }

    public TimeSpan LeaseTime { get; }

    public long RefusedReports => Interlocked.Read(ref _refused);

    public async ValueTask<IReadOnlyList<Lease>> LeaseAsync(LeaseRequest request, CancellationToken cancellationToken)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(request.Most, 1);
        RequireOneRole(request.Role);
        long start = _clock.GetTimestamp();
        while (true)
        {
            Task arrival;
            lock (_gate)
            {
                MemoryLane stream = StreamOf(request.Lane, request.Role);
                if (stream.Take(request.Most, request.IsInteractiveOnly) is { Count: > 0 } items)
                {
                    return Hand(request.Worker, request.Lane, stream, items);
                }

                arrival = stream.Arrival;
            }

            TimeSpan left = request.Wait - _clock.GetElapsedTime(start);
            if (!await Came(arrival, left, cancellationToken))
            {
                return [];
            }
        }
    }

    public ValueTask<Lease?> LeaseAloneAsync(string worker, string lane, WorkRoles roles, CancellationToken cancellationToken)
    {
        cancellationToken.ThrowIfCancellationRequested();
        lock (_gate)
        {
            foreach (WorkRoles role in (ReadOnlySpan<WorkRoles>)[WorkRoles.Mllm, WorkRoles.Dit])
            {
                if (roles.HasFlag(role) && _streams.TryGetValue((lane, role), out MemoryLane? stream) && stream.TryTakeAlone(out WorkItem? item))
                {
                    return ValueTask.FromResult<Lease?>(Hand(worker, lane, stream, [item])[0]);
                }
            }
        }

        return ValueTask.FromResult<Lease?>(null);
    }

    public ValueTask<bool> HasAloneAsync(string lane, WorkRoles roles, CancellationToken cancellationToken)
    {
        cancellationToken.ThrowIfCancellationRequested();
        lock (_gate)
        {
            return ValueTask.FromResult(HasAlone(WorkRoles.Mllm) || HasAlone(WorkRoles.Dit));
        }

        bool HasAlone(WorkRoles role) => roles.HasFlag(role) && _streams.TryGetValue((lane, role), out MemoryLane? stream) && stream.WaitingAlone > 0;
    }

    public ValueTask<IReadOnlyList<Lease>> RenewAsync(string worker, IReadOnlyList<Lease> leases, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(leases);
        cancellationToken.ThrowIfCancellationRequested();
        List<Lease>? lost = null;
        lock (_gate)
        {
            long now = _clock.GetTimestamp();
            foreach (Lease lease in leases)
            {
                if (_held.TryGetValue(lease.Token, out Held? held) && held.Worker == worker)
                {
                    held.RenewedAt = now;
                }
                else
                {
                    (lost ??= []).Add(lease);
                }
            }
        }

        return ValueTask.FromResult<IReadOnlyList<Lease>>(lost ?? []);
    }

    public ValueTask<IReadOnlyList<bool>> ReportAsync(string worker, IReadOnlyList<WorkReport> reports, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(reports);
        cancellationToken.ThrowIfCancellationRequested();
        var taken = new bool[reports.Count];
        TaskCompletionSource? signal = null;
        lock (_gate)
        {
            var ended = new List<Held>(reports.Count);
            for (int i = 0; i < taken.Length; i++)
            {
                if (_held.TryGetValue(reports[i].Lease.Token, out Held? held) && held.Worker == worker && !held.IsEnding)
                {
                    held.IsEnding = true; // the same lease twice in one call
                    taken[i] = true;
                    ended.Add(held);
                }
            }

            End(ended);
            _refused += taken.Length - ended.Count;
            for (int i = 0, next = 0; i < taken.Length; i++)
            {
                if (taken[i])
                {
                    Held held = ended[next++];
                    string receipt = (++_receipts).ToString(CultureInfo.InvariantCulture);
                    _reports.Enqueue((held.Lane, new ReceivedReport(receipt, worker, held.Item, reports[i].Outcome)));
                }
            }

            if (ended.Count > 0)
            {
                signal = Interlocked.Exchange(ref _reported, NewSignal());
            }
        }

        signal?.TrySetResult();
        return ValueTask.FromResult<IReadOnlyList<bool>>(taken);
    }

    public IDisposable OnWithdrawn(Action<string> jobId)
    {
        ArgumentNullException.ThrowIfNull(jobId);
        lock (_gate)
        {
            _onWithdrawn.Add(jobId);
        }

        return new Subscription(() =>
        {
            lock (_gate)
            {
                _onWithdrawn.Remove(jobId);
            }
        });
    }

    public void Dispose() => _journal?.Dispose();

    private static TaskCompletionSource NewSignal() => new(TaskCreationOptions.RunContinuationsAsynchronously);

    private static void RequireOneRole(WorkRoles role)
    {
        if (role is not (WorkRoles.Mllm or WorkRoles.Dit))
        {
            throw new ArgumentOutOfRangeException(nameof(role), role, "a lease is for one of the two roles");
        }
    }

    private MemoryLane StreamOf(string lane, WorkRoles role)
    {
        if (!_streams.TryGetValue((lane, role), out MemoryLane? stream))
        {
            _streams.Add((lane, role), stream = new MemoryLane());
        }

        return stream;
    }

    private Lease[] Hand(string worker, string lane, MemoryLane stream, IReadOnlyList<WorkItem> items)
    {
        var held = new Held[items.Count];
        long now = _clock.GetTimestamp();
        for (int i = 0; i < held.Length; i++)
        {
            held[i] = new Held(++_tokens, worker, lane, items[i]) { RenewedAt = now };
        }

        int written;
        try
        {
            written = _journal?.Leased(worker, held) ?? held.Length;
        }
        catch (Exception exception)
        {
            stream.GiveBack(items);
            if (exception is StorageException)
            {
                throw new WorkQueueException($"nothing can be leased: {exception.Message}", exception);
            }

            throw;
        }

        stream.GiveBack([.. items.Skip(written)]);
        var leases = new Lease[written];
        for (int i = 0; i < leases.Length; i++)
        {
            string token = held[i].Number.ToString(CultureInfo.InvariantCulture);
            _held.Add(token, held[i]);
            leases[i] = new Lease(token, held[i].Item);
        }

        return leases;
    }

    /// <summary>Ends leases, in the journal first: an error leaves everything as it was.</summary>
    private void End(IReadOnlyList<Held> ended, bool withOrphans = false)
    {
        try
        {
            _journal?.Ended(ended, withOrphans, _held.Values);
        }
        catch (StorageException exception)
        {
            foreach (Held held in ended)
            {
                held.IsEnding = false;
            }

            throw new WorkQueueException($"no lease can be ended: {exception.Message}", exception);
        }

        foreach (Held held in ended)
        {
            _held.Remove(held.Number.ToString(CultureInfo.InvariantCulture));
        }
    }

    private async ValueTask<bool> Came(Task arrival, TimeSpan wait, CancellationToken cancellationToken)
    {
        if (wait <= TimeSpan.Zero)
        {
            cancellationToken.ThrowIfCancellationRequested();
            return false;
        }

        try
        {
            await arrival.WaitAsync(wait, _clock, cancellationToken);
            return true;
        }
        catch (TimeoutException)
        {
            return false;
        }
    }

    /// <summary>A lease.</summary>
    internal sealed class Held(long number, string worker, string lane, WorkItem item)
    {
        public long Number { get; } = number;
        public string Worker { get; } = worker;
        public string Lane { get; } = lane;
        public WorkItem Item { get; } = item;
        public long RenewedAt { get; set; }
        public bool IsEnding { get; set; }
    }

    private sealed class Subscription(Action end) : IDisposable
    {
        private Action? _end = end;

        public void Dispose() => Interlocked.Exchange(ref _end, null)?.Invoke();
    }
}
