using System.Collections;

namespace MetaQuery.Farm;

/// <summary>Keeps nothing: each sample is handed to its taker as it comes, each once.</summary>
/// <param name="images">In the job.</param>
/// <param name="numerics">What they are made with.</param>
/// <param name="onSample">Takes them, one at a time.</param>
internal sealed class MemorySampleStore(long images, string numerics, Action<FinishedSample> onSample) : ISampleStore
{
    private readonly Lock _gate = new();
    private readonly BitArray _settled = new(checked((int)images));

    /// <summary>Why the last image that was given up was; null where none was.</summary>
    public string? LastReason { get; private set; }

    public long WrittenCount { get; private set; }

    public long FailedCount { get; private set; }

    public bool IsComplete => WrittenCount + FailedCount == images;

    public bool HasFullShard => false;

    public IReadOnlyList<long> Retried => [];

    public IReadOnlyList<string> Numerics { get; } = [numerics];

    public bool IsSettled(long position)
    {
        lock (_gate)
        {
            return _settled[(int)position];
        }
    }

    public bool Add(FinishedSample sample)
    {
        lock (_gate)
        {
            if (_settled[(int)sample.Position])
            {
                return false;
            }

            onSample(sample);
            _settled[(int)sample.Position] = true;
            WrittenCount++;
            return true;
        }
    }

    public bool Fail(long position, FailedSample failure)
    {
        lock (_gate)
        {
            if (_settled[(int)position])
            {
                return false;
            }

            _settled[(int)position] = true;
            LastReason = failure.Reason;
            FailedCount++;
            return true;
        }
    }

    public void Flush()
    {
    }

    public IReadOnlyList<long> FinishShards() => [];

    public string? DrawSheet() => null;

    public void WriteStats(JobState state, JobProgress progress, JobStats stats, int slots)
    {
    }

    public void RemoveWork()
    {
    }

    public IReadOnlyList<FailedSample> ListFailures(int most) => [];

    public IReadOnlyList<long> OpenShards() => [];

    public IReadOnlyList<long>? PositionsIn(long shard) => null;

    public FinishedSample? TryRead(long position) => null;

    public void Dispose()
    {
    }
}
