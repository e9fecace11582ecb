using MetaQuery.Farm.Tests.Doubles;

namespace MetaQuery.Farm.Tests;

/// <summary>How long a batch may take.</summary>
public sealed class RunningBatchTests
{
    private static readonly TimeSpan Stall = TimeSpan.FromMinutes(30);
    private static readonly TimeSpan Grace = TimeSpan.FromSeconds(30);

    private readonly ManualClock _clock = new();

    [Fact]
    public void A_batch_goes_on_for_as_long_as_it_gives_signs_of_progress_and_ends_when_it_gives_none()
    {
        using RunningBatch batch = Begin(Items.Denoise("j", 1));
        for (int step = 0; step < 40; step++)
        {
            _clock.Advance(Stall - TimeSpan.FromSeconds(1));
            batch.Progressed();
        }

        Assert.Equal(CancelCause.None, batch.Cause);
        _clock.Advance(Stall);
        Assert.Equal(CancelCause.TimedOut, batch.Cause);
        Assert.Equal("gave no sign of progress for 0:30:00", batch.Lateness);
        Assert.False(batch.IsStuck(Grace));
        _clock.Advance(Grace + TimeSpan.FromSeconds(1));
        Assert.True(batch.IsStuck(Grace));
        batch.Progressed(); // too late: it was told to end, and others make it
        Assert.True(batch.IsStuck(Grace));
    }

    [Fact]
    public void A_stated_time_is_that_of_the_whole_batch()
    {
        using RunningBatch batch = Begin(Items.Denoise("j", 1) with { Timeout = TimeSpan.FromSeconds(90) });
        _clock.Advance(TimeSpan.FromSeconds(60));
        batch.Progressed();
        Assert.Equal(CancelCause.None, batch.Cause);
        _clock.Advance(TimeSpan.FromSeconds(30));
        Assert.Equal((CancelCause.TimedOut, "took longer than 0:01:30"), (batch.Cause, batch.Lateness));
    }

    private RunningBatch Begin(WorkItem item) => new(item.Role, [new HeldItem(new Lease("1", item))], Stall, _clock);
}
