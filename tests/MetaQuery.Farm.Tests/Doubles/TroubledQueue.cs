using MetaQuery.Data;

namespace MetaQuery.Farm.Tests.Doubles;

/// <summary>A queue whose connection the test takes away and gives back.</summary>
internal sealed class TroubledQueue(IWorkQueue queue) : IWorkQueue
{
    private volatile bool _isCut;
    private volatile bool _hasFullInbox;
    private int _refusals;

    /// <summary>While it is set, every call fails.</summary>
    public bool IsCut { get => _isCut; set => _isCut = value; }

    /// <summary>While it is set, this machine cannot write what it made where the head reads it.</summary>
    public bool HasFullInbox { get => _hasFullInbox; set => _hasFullInbox = value; }

    /// <summary>While it is set, a renewal finds every lease lost.</summary>
    public bool LosesLeases { get; set; }

    /// <summary>The call goes through, but its answer is lost.</summary>
    public bool LosesAnswers { get; set; }

    /// <summary>Calls that failed.</summary>
    public int Refusals => Volatile.Read(ref _refusals);

    public async ValueTask<IReadOnlyList<Lease>> LeaseAsync(LeaseRequest request, CancellationToken cancellationToken)
    {
        Reach();
        return await queue.LeaseAsync(request, cancellationToken);
    }

    public async ValueTask<Lease?> LeaseAloneAsync(string worker, string lane, WorkRoles roles, CancellationToken cancellationToken)
    {
        Reach();
        return await queue.LeaseAloneAsync(worker, lane, roles, cancellationToken);
    }

    public async ValueTask<bool> HasAloneAsync(string lane, WorkRoles roles, CancellationToken cancellationToken)
    {
        Reach();
        return await queue.HasAloneAsync(lane, roles, cancellationToken);
    }

    public async ValueTask<IReadOnlyList<Lease>> RenewAsync(string worker, IReadOnlyList<Lease> leases, CancellationToken cancellationToken)
    {
        Reach();
        return LosesLeases ? leases : await queue.RenewAsync(worker, leases, cancellationToken);
    }

    public async ValueTask<IReadOnlyList<bool>> ReportAsync(string worker, IReadOnlyList<WorkReport> reports, CancellationToken cancellationToken)
    {
        Reach();
        if (_hasFullInbox)
        {
            Interlocked.Increment(ref _refusals);
            throw new StorageException(StorageFault.DiskFull, "inbox: no space left");
        }

        IReadOnlyList<bool> taken = await queue.ReportAsync(worker, reports, cancellationToken);
        if (LosesAnswers)
        {
            LosesAnswers = false;
            throw new WorkQueueException("the answer was lost");
        }

        return taken;
    }

    public IDisposable OnWithdrawn(Action<string> jobId) => queue.OnWithdrawn(jobId);

    private void Reach()
    {
        if (_isCut)
        {
            Interlocked.Increment(ref _refusals);
            throw new WorkQueueException("the connection is cut");
        }
    }
}
