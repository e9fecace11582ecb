namespace MetaQuery.Farm;

/// <summary>What a slot did with its time since it began.</summary>
/// <param name="Encoding">In the encoder.</param>
/// <param name="Denoising">In the denoiser.</param>
/// <param name="Idle">Everything else: waiting for work, for conditions, for somebody to take what was made.</param>
/// <param name="IdleBetweenBatches">Of that: between the first batch's begin and the last one's end, which says nothing of times without work at either end.</param>
/// <param name="EncodeBatches">Calls of the encoder.</param>
/// <param name="DenoiseBatches">Calls of the denoiser.</param>
public sealed record SlotTimes(
    TimeSpan Encoding, TimeSpan Denoising, TimeSpan Idle, TimeSpan IdleBetweenBatches, long EncodeBatches, long DenoiseBatches)
{
    /// <summary>Idle time between batches as a share of the time from the first batch to the last: 0 to 1.</summary>
    public double IdleShare => IdleBetweenBatches / (Encoding + Denoising + IdleBetweenBatches) is var share && double.IsNaN(share) ? 0 : share;
}

/// <summary>A slot's own clock. The slot writes; others read.</summary>
internal sealed class SlotClock(TimeProvider clock)
{
    private readonly Lock _gate = new();
    private readonly long _start = clock.GetTimestamp();
    private TimeSpan _encoding;
    private TimeSpan _denoising;
    private TimeSpan _between;
    private long _encodes;
    private long _denoises;
    private long _began;
    private long _lastEnd;
    private WorkRoles _activity;
    private SlotStatus _status = new("idle", 0, [], clock.GetUtcNow());

    public SlotStatus Status => Volatile.Read(ref _status);

    /// <summary>Times as of now; a batch in work counts as far as it is.</summary>
    public SlotTimes Times
    {
        get
        {
            lock (_gate)
            {
                TimeSpan running = _activity == WorkRoles.None ? TimeSpan.Zero : clock.GetElapsedTime(_began);
                TimeSpan encoding = _encoding + (_activity == WorkRoles.Mllm ? running : TimeSpan.Zero);
                TimeSpan denoising = _denoising + (_activity == WorkRoles.Dit ? running : TimeSpan.Zero);
                TimeSpan idle = clock.GetElapsedTime(_start) - encoding - denoising;
                return new SlotTimes(encoding, denoising, idle < TimeSpan.Zero ? TimeSpan.Zero : idle, _between, _encodes, _denoises);
            }
        }
    }

    /// <summary>Runs a half and counts its time.</summary>
    public T Compute<T>(RunningBatch batch, int rows, Func<T> compute)
    {
        lock (_gate)
        {
            _began = clock.GetTimestamp();
            if (_encodes + _denoises > 0)
            {
                _between += clock.GetElapsedTime(_lastEnd, _began);
            }

            _activity = batch.Role;
        }

        string[] jobs = [.. batch.Rows.Select(row => row.Item).OfType<DenoiseItem>().Select(item => item.JobId).Distinct(StringComparer.Ordinal)];
        Volatile.Write(ref _status, new SlotStatus(batch.Role == WorkRoles.Mllm ? "encode" : "denoise", rows, jobs, clock.GetUtcNow()));
        try
        {
            return compute();
        }
        finally
        {
            lock (_gate)
            {
                _lastEnd = clock.GetTimestamp();
                TimeSpan took = clock.GetElapsedTime(_began, _lastEnd);
                if (batch.Role == WorkRoles.Mllm)
                {
                    _encoding += took;
                    _encodes++;
                }
                else
                {
                    _denoising += took;
                    _denoises++;
                }

                _activity = WorkRoles.None;
            }

            Volatile.Write(ref _status, new SlotStatus("idle", 0, [], clock.GetUtcNow()));
        }
    }
}
