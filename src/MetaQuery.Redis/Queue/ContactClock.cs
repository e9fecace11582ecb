namespace MetaQuery.Redis;

/// <summary>Tells whether Redis was there all through the last lease's time: only then does a lease without a heartbeat say something of its worker.</summary>
/// <remarks>A server that was stopped, or a head that was, finds every lease idle at once, and every worker alive.</remarks>
internal sealed class ContactClock
{
    private readonly TimeSpan _leaseTime;
    private readonly TimeProvider _clock;
    private readonly Lock _gate = new();
    private long _last;
    private long _steadySince;

    public ContactClock(TimeSpan leaseTime, TimeProvider clock)
    {
        (_leaseTime, _clock) = (leaseTime, clock);
        _last = _steadySince = clock.GetTimestamp();
    }

    /// <summary>Redis answered.</summary>
    public void Heard()
    {
        lock (_gate)
        {
            long now = _clock.GetTimestamp();
            if (_clock.GetElapsedTime(_last, now) > _leaseTime / 2)
            {
                _steadySince = now;
            }

            _last = now;
        }
    }

    public bool IsSteady
    {
        get
        {
            lock (_gate)
            {
                return _clock.GetElapsedTime(_steadySince) >= _leaseTime;
            }
        }
    }
}
