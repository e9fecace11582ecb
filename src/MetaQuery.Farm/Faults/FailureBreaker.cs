namespace MetaQuery.Farm;

/// <summary>Ends a job whose first images all fail, instead of trying a million. State in, decisions out. Not thread-safe.</summary>
/// <param name="limit">Images given up, before the first success, that end the job.</param>
public sealed class FailureBreaker(int limit = 50)
{
    private readonly int _limit = limit > 0 ? limit : throw new ArgumentOutOfRangeException(nameof(limit), limit, "a breaker needs at least one failure");
    private int _failures;
    private bool _hasSuccess;

    /// <summary>An image was made, in this run or in one before.</summary>
    public void Succeeded() => _hasSuccess = true;

    /// <summary>An image was given up.</summary>
    /// <returns>Why the job must end, in one line; null while it may go on.</returns>
    public string? Failed(string reason)
    {
        if (_hasSuccess)
        {
            return null;
        }

        _failures++;
        return _failures >= _limit ? $"the first {_failures} images all failed, the last with: {reason}" : null;
    }

    /// <summary>Failed images are tried again: the count begins anew.</summary>
    public void Reset() => _failures = 0;
}
