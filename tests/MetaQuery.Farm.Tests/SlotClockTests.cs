using MetaQuery.Farm.Tests.Doubles;

namespace MetaQuery.Farm.Tests;

public sealed class SlotClockTests
{
    [Fact]
    public void A_slots_clock_counts_everything_but_computing_as_idle_and_tells_the_gaps_between_batches_apart()
    {
        var time = new ManualClock();
        var clock = new SlotClock(time);
        Pass(3);
        Compute(WorkRoles.Mllm, 2);
        Pass(1);
        Compute(WorkRoles.Dit, 10);
        Compute(WorkRoles.Dit, 7);
        Pass(5);
        SlotTimes times = clock.Times;
        Assert.Equal((2, 17), (times.Encoding.TotalSeconds, times.Denoising.TotalSeconds));
        Assert.Equal(9, times.Idle.TotalSeconds);
        Assert.Equal(1, times.IdleBetweenBatches.TotalSeconds);
        Assert.Equal(1 / 20.0, times.IdleShare, 12);
        Assert.Equal((1, 2), (times.EncodeBatches, times.DenoiseBatches));
        Assert.Equal(0, new SlotClock(time).Times.IdleShare);

        void Pass(int seconds) => time.Advance(TimeSpan.FromSeconds(seconds));

        void Compute(WorkRoles role, int seconds)
        {
            WorkItem item = role == WorkRoles.Mllm ? ToyFloor.Prompt("a") : ToyFloor.Image("job", 0);
            using var batch = new RunningBatch(role, [new HeldItem(new Lease("1", item))], TimeSpan.FromHours(1), time);
            string activity = clock.Compute(batch, 1, () =>
            {
                Pass(seconds);
                Assert.Equal(role == WorkRoles.Mllm ? [] : ["job"], clock.Status.JobIds);
                return clock.Status.Activity;
            });
            Assert.Equal(role == WorkRoles.Mllm ? "encode" : "denoise", activity);
            Assert.Equal("idle", clock.Status.Activity);
        }
    }

    [Fact]
    public void A_batch_in_work_counts_as_far_as_it_is()
    {
        var time = new ManualClock();
        var clock = new SlotClock(time);
        using var batch = new RunningBatch(WorkRoles.Dit, [new HeldItem(new Lease("1", ToyFloor.Image("job", 0)))], TimeSpan.FromHours(1), time);
        clock.Compute(batch, 1, () =>
        {
            time.Advance(TimeSpan.FromSeconds(4));
            Assert.Equal(4, clock.Times.Denoising.TotalSeconds);
            return 0;
        });
        Assert.Equal(4, clock.Times.Denoising.TotalSeconds);
    }

    [Fact]
    public void A_batchs_time_is_over_once_its_limit_has_passed_and_it_is_stuck_a_grace_later()
    {
        var time = new ManualClock();
        using var batch = new RunningBatch(WorkRoles.Dit, [new HeldItem(new Lease("1", ToyFloor.Image("job", 0)))], TimeSpan.FromSeconds(10), time);
        time.Advance(TimeSpan.FromSeconds(9));
        Assert.False(batch.Token.IsCancellationRequested);
        time.Advance(TimeSpan.FromSeconds(1));
        Assert.True(batch.Token.IsCancellationRequested);
        Assert.Equal(CancelCause.TimedOut, batch.Cause);
        Assert.False(batch.IsStuck(TimeSpan.FromSeconds(5)));
        time.Advance(TimeSpan.FromSeconds(6));
        Assert.True(batch.IsStuck(TimeSpan.FromSeconds(5)));
        batch.Cancel(CancelCause.AllGone);
        Assert.Equal(CancelCause.TimedOut, batch.Cause);
    }
}
