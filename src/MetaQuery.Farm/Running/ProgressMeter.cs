namespace MetaQuery.Farm;

/// <summary>Counts and reports, at most ten times a second; the rate is that of the last half minute.</summary>
internal sealed class ProgressMeter(JobPlan plan, long resumedWritten, long resumedFailed, TimeProvider clock, IProgress<JobProgress>? progress)
{
    private static readonly TimeSpan ReportEvery = TimeSpan.FromMilliseconds(100);
    private static readonly TimeSpan RateOver = TimeSpan.FromSeconds(30);

    private readonly Lock _gate = new();
    private readonly Queue<(long Timestamp, long Made)> _recent = new();
    private readonly long _start = clock.GetTimestamp();
    private long _lastReport;
    private long _promptsPlanned;
    private long _promptsEncoded;
    private long _denoised;
    private long _written;
    private long _failed;

    public long Written => Interlocked.Read(ref _written);

    public TimeSpan Elapsed => clock.GetElapsedTime(_start);

    public void Planned(long prompts) => Change(() => _promptsPlanned = prompts);

    public void Encoded(int prompts) => Change(() => _promptsEncoded += prompts);

    public void Denoised(int images) => Change(() => _denoised += images);

    public void Committed(int images) => Change(() =>
    {
        _written += images;
        _recent.Enqueue((clock.GetTimestamp(), _written));
        while (_recent.Count > 2 && clock.GetElapsedTime(_recent.Peek().Timestamp) > RateOver)
        {
            _recent.Dequeue();
        }
    });

    public void Failed(int images) => Change(() => _failed += images);

    /// <summary>Reports now, whatever was reported last.</summary>
    public JobProgress Report(JobState state)
    {
        lock (_gate)
        {
            JobProgress now = Snapshot(state);
            _lastReport = clock.GetTimestamp();
            progress?.Report(now);
            return now;
        }
    }

    private void Change(Action change)
    {
        lock (_gate) // held while reporting: counts reach the listener in the order they grew
        {
            change();
            if (progress is not null && clock.GetElapsedTime(_lastReport) >= ReportEvery)
            {
                _lastReport = clock.GetTimestamp();
                progress.Report(Snapshot(JobState.Running));
            }
        }
    }

    private JobProgress Snapshot(JobState state)
    {
        double rate = 0;
        if (_written > 0)
        {
            bool whole = Elapsed <= RateOver || _recent.Count < 2;
            double seconds = (whole ? Elapsed : clock.GetElapsedTime(_recent.Peek().Timestamp)).TotalSeconds;
            rate = (whole ? _written : _written - _recent.Peek().Made) / Math.Max(seconds, 1e-3);
        }

        long settled = resumedWritten + resumedFailed + _written + _failed;
        long left = plan.ImageCount - settled;
        TimeSpan? timeLeft = left == 0 ? TimeSpan.Zero : rate > 0 ? TimeSpan.FromSeconds(Math.Min(left / rate, 3.15e8)) : null;
        return new JobProgress(
            state, plan.PromptCount, _promptsPlanned, _promptsEncoded, plan.ImageCount, resumedWritten + _denoised,
            resumedWritten + _written, resumedFailed + _failed, resumedWritten + resumedFailed, rate, timeLeft);
    }
}
