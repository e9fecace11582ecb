namespace MetaQuery.Farm;

/// <summary>Who else could make what this worker cannot.</summary>
internal sealed class OtherWorkers(IWorkerRegistry registry, WorkerInfo worker, WorkerOptions options)
{
    /// <summary>Whether another worker of the lane serves a role, and says of no trouble. Asks the registry, on the caller's thread.</summary>
    /// <param name="role">One of the two.</param>
    /// <param name="cancellationToken">Ends the question.</param>
    /// <returns>True also where it cannot be told: what is given back is not lost.</returns>
    public bool Serve(WorkRoles role, CancellationToken cancellationToken)
    {
        try
        {
            IReadOnlyList<WorkerView> workers = registry.ListAsync(cancellationToken).AsTask().GetAwaiter().GetResult();
            return workers.Any(other => other.Info.Id != worker.Id && other.Info.Lane == worker.Lane && other.Info.Roles.HasFlag(role)
                && other.Status is { State: WorkerState.Running, Trouble: null });
        }
        catch (Exception exception) when (Outage.IsOne(exception, options) || exception is OperationCanceledException)
        {
            return true;
        }
    }
}
