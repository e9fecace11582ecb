namespace MetaQuery.Farm;

/// <summary>Waits that double from a twentieth of a second up to a limit: for something that cannot be reached just now.</summary>
internal sealed class Backoff(TimeSpan longest, TimeProvider clock)
{
    private static readonly TimeSpan Shortest = TimeSpan.FromMilliseconds(50);

    private TimeSpan _next = Shortest;

    public void Reset() => _next = Shortest;

    public Task WaitAsync(CancellationToken cancellationToken) => Task.Delay(Next(), clock, cancellationToken);

    /// <summary>The next wait.</summary>
    public TimeSpan Next()
    {
        TimeSpan now = _next < longest ? _next : longest;
        _next = now * 2;
        return now;
    }
}
