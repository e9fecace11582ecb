using System.Collections.Concurrent;

namespace MetaQuery.Farm;

/// <summary>Time per stage, summed over threads.</summary>
internal sealed class StageClock(TimeProvider clock)
{
    private readonly ConcurrentDictionary<string, long> _ticks = new(StringComparer.Ordinal);

    public T Time<T>(string stage, Func<T> work)
    {
        long start = clock.GetTimestamp();
        try
        {
            return work();
        }
        finally
        {
            Add(stage, clock.GetElapsedTime(start));
        }
    }

    public void Time(string stage, Action work) => Time(stage, () =>
    {
        work();
        return true;
    });

    public void Add(string stage, TimeSpan time) => _ticks.AddOrUpdate(stage, time.Ticks, (_, sum) => sum + time.Ticks);

    public IReadOnlyDictionary<string, TimeSpan> Totals =>
        _ticks.OrderBy(stage => stage.Key, StringComparer.Ordinal).ToDictionary(stage => stage.Key, stage => TimeSpan.FromTicks(stage.Value));
}
