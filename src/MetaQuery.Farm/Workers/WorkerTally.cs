namespace MetaQuery.Farm;

/// <summary>What a worker counted since it started.</summary>
/// <param name="Images">Images made.</param>
/// <param name="Conditions">Conditions made: passes through the encoder.</param>
/// <param name="EncoderCalls">Batches in which they were made.</param>
/// <param name="DenoiseBatches">Batches of images.</param>
/// <param name="PaddedRows">Rows of those batches that no image filled.</param>
/// <param name="FailedBatches">Batches that ended with an error or took too long.</param>
/// <param name="CancelledBatches">Batches that were cancelled: nobody wanted them any more, or the worker was stopped.</param>
/// <param name="RefusedReports">Reports that came too late.</param>
/// <param name="LostLeases">Leases lost before anything was reported.</param>
/// <param name="StageTimes">Summed over threads: encode and denoise of the slots, image (making files) beside them.</param>
public sealed record WorkerCounters(
    long Images, long Conditions, long EncoderCalls, long DenoiseBatches, long PaddedRows, long FailedBatches, long CancelledBatches,
    long RefusedReports, long LostLeases, IReadOnlyDictionary<string, TimeSpan> StageTimes);

/// <summary>The counts as they grow, and their rates over the last half minute. Thread-safe.</summary>
internal sealed class WorkerTally(TimeProvider clock)
{
    private static readonly TimeSpan RateOver = TimeSpan.FromSeconds(30);

    private readonly Lock _gate = new();
    private readonly Queue<Sample> _samples = new([new Sample(clock.GetTimestamp(), 0, 0, TimeSpan.Zero)]);
    private WorkerCounters _counts = new(0, 0, 0, 0, 0, 0, 0, 0, 0, new Dictionary<string, TimeSpan>(StringComparer.Ordinal));

    public StageClock Stages { get; } = new(clock);

    public WorkerCounters Counts
    {
        get
        {
            lock (_gate)
            {
                return _counts with { StageTimes = Stages.Totals };
            }
        }
    }

    public void Change(Func<WorkerCounters, WorkerCounters> change)
    {
        lock (_gate)
        {
            _counts = change(_counts);
        }
    }

    /// <summary>Rates since the oldest look that is at most half a minute old.</summary>
    /// <param name="busy">Time that all slots computed so far.</param>
    /// <returns>Images and conditions a second, and seconds computed a second.</returns>
    public (double Images, double Conditions, double Busy) Look(TimeSpan busy)
    {
        lock (_gate)
        {
            long now = clock.GetTimestamp();
            while (_samples.Count > 1 && clock.GetElapsedTime(_samples.Peek().Timestamp, now) > RateOver)
            {
                _samples.Dequeue();
            }

            Sample first = _samples.Peek();
            _samples.Enqueue(new Sample(now, _counts.Images, _counts.Conditions, busy));
            double seconds = clock.GetElapsedTime(first.Timestamp, now).TotalSeconds;
            return seconds > 0
                ? ((_counts.Images - first.Images) / seconds, (_counts.Conditions - first.Conditions) / seconds, (busy - first.Busy).TotalSeconds / seconds)
                : default;
        }
    }

    private readonly record struct Sample(long Timestamp, long Images, long Conditions, TimeSpan Busy);
}
