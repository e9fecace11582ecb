namespace MetaQuery.Farm;

/// <summary>How many a second, over the last half minute. Thread-safe.</summary>
internal sealed class RateMeter(TimeProvider clock)
{
    private const int Slots = 30;
    private static readonly TimeSpan SlotTime = TimeSpan.FromSeconds(1);

    private readonly Lock _gate = new();
    private readonly long[] _counts = new long[Slots];
    private readonly long _start = clock.GetTimestamp();
    private long _slot;
    private long _sum;

    public void Add(long count)
    {
        lock (_gate)
        {
            Advance();
            _counts[_slot % Slots] += count;
            _sum += count;
        }
    }

    public double PerSecond
    {
        get
        {
            lock (_gate)
            {
                Advance();
                double seconds = clock.GetElapsedTime(_start).TotalSeconds;
                return _sum / Math.Clamp(seconds, 0.1, (Slots - 1) + (seconds % 1)); // the present slot has only begun
            }
        }
    }

    private void Advance()
    {
        long now = clock.GetElapsedTime(_start).Ticks / SlotTime.Ticks;
        for (long slot = Math.Max(_slot + 1, now - Slots + 1); slot <= now; slot++)
        {
            _sum -= _counts[slot % Slots];
            _counts[slot % Slots] = 0;
        }

        _slot = Math.Max(_slot, now);
    }
}
