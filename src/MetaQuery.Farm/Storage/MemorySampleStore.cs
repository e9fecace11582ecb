namespace MetaQuery.Farm;

/// <summary>Commits to nothing: for pictures that their caller takes as they come.</summary>
internal sealed class MemorySampleStore : ISampleStore
{
    /// <summary>Why the last image that was given up was; null where none was.</summary>
    public string? LastReason { get; private set; }

    public bool IsSettled(long position) => false;

    public void Add(FinishedSample sample)
    {
    }

    public void Fail(long position, FailedSample failure) => LastReason = failure.Reason;

    public void Flush()
    {
    }
}
