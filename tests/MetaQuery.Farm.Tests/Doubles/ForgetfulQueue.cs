namespace MetaQuery.Farm.Tests.Doubles;

/// <summary>A queue whose server now and then comes back empty: waiting items, leases and reports are gone.</summary>
internal sealed class ForgetfulQueue : IWorkQueue, IWorkFeed, IDisposable
{
    private MemoryWorkQueue _inner = New();
    private bool _hasForgotten;

    public TimeSpan LeaseTime => _inner.LeaseTime;

    public void Forget()
    {
        Interlocked.Exchange(ref _inner, New()).Dispose();
        Volatile.Write(ref _hasForgotten, true);
    }

    public ValueTask<IReadOnlyList<Lease>> LeaseAsync(LeaseRequest request, CancellationToken cancellationToken) => _inner.LeaseAsync(request, cancellationToken);

    public ValueTask<Lease?> LeaseAloneAsync(string worker, string lane, WorkRoles roles, CancellationToken cancellationToken) =>
        _inner.LeaseAloneAsync(worker, lane, roles, cancellationToken);

    public ValueTask<IReadOnlyList<Lease>> RenewAsync(string worker, IReadOnlyList<Lease> leases, CancellationToken cancellationToken) =>
        _inner.RenewAsync(worker, leases, cancellationToken);

    public ValueTask<IReadOnlyList<bool>> ReportAsync(string worker, IReadOnlyList<WorkReport> reports, CancellationToken cancellationToken) =>
        _inner.ReportAsync(worker, reports, cancellationToken);

    public IDisposable OnWithdrawn(Action<string> jobId) => _inner.OnWithdrawn(jobId);

    public ValueTask FeedAsync(string lane, IReadOnlyList<WorkItem> items, CancellationToken cancellationToken) => _inner.FeedAsync(lane, items, cancellationToken);

    public ValueTask<IReadOnlyList<ReceivedReport>> ReceiveAsync(int most, TimeSpan wait, CancellationToken cancellationToken) =>
        _inner.ReceiveAsync(most, TimeSpan.FromMilliseconds(10), cancellationToken);

    public ValueTask ConfirmAsync(IReadOnlyList<ReceivedReport> reports, CancellationToken cancellationToken) => _inner.ConfirmAsync(reports, cancellationToken);

    public ValueTask<IReadOnlyList<WorkItem>> ReclaimAsync(CancellationToken cancellationToken) => _inner.ReclaimAsync(cancellationToken);

    public ValueTask<IReadOnlyList<WorkItem>> RecoverAsync(CancellationToken cancellationToken) => _inner.RecoverAsync(cancellationToken);

    public ValueTask WithdrawAsync(string jobId, CancellationToken cancellationToken) => _inner.WithdrawAsync(jobId, cancellationToken);

    public ValueTask<bool> HasLostItemsAsync(CancellationToken cancellationToken) => ValueTask.FromResult(Interlocked.Exchange(ref _hasForgotten, false));

    public ValueTask<LaneDepth> DepthAsync(string lane, CancellationToken cancellationToken) => _inner.DepthAsync(lane, cancellationToken);

    public void Dispose() => _inner.Dispose();

    private static MemoryWorkQueue New() => new(TimeSpan.FromSeconds(30));
}
