namespace MetaQuery.Farm;

/// <summary>Wakes those that wait for a change.</summary>
internal sealed class AsyncPulse
{
    private TaskCompletionSource _next = New();

    /// <summary>Ends with the next change after it was asked for: ask, look at the state, then wait.</summary>
    public Task Next => Volatile.Read(ref _next).Task;

    public void Pulse() => Interlocked.Exchange(ref _next, New()).SetResult();

    private static TaskCompletionSource New() => new(TaskCreationOptions.RunContinuationsAsynchronously);
}
