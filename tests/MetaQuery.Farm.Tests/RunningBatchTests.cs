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

    [Fact]
    public void Prompts_that_were_put_off_are_no_part_of_the_batch_and_leave_room_for_no_others_while_they_are_looked_at()
    {
        var desk = new WorkDesk(new WorkerOptions { EncodeBatchSize = 2, Clock = _clock }, batchSize: 4);
        LeaseCall call = desk.BeginLease(WorkRoles.Mllm)!;
        Assert.Equal(2, call.Most);
        (IReadOnlyList<HeldItem> held, _) = desk.EndLease(call, [new Lease("1", ToyFloor.Prompt("a cat")), new Lease("2", ToyFloor.Prompt("a dog"))]);
        Assert.Null(desk.BeginLease(WorkRoles.Mllm)); // they are on their way
        Assert.All(held, item => Assert.True(desk.TryPool(item)));
        RunningBatch batch = desk.NextBatch()!;
        Assert.Equal(held, batch.Rows);
        Assert.True(desk.TryPutOff(held[1]));
        Assert.Equal([held[0]], desk.RowsOf(batch));
        Assert.True(desk.TryPutOff(held[0]));
        desk.EndBatch(batch);
        Assert.Null(desk.BeginLease(WorkRoles.Mllm));
        Assert.Equal(2, desk.TakePutOff().Count);
        Assert.Null(desk.BeginLease(WorkRoles.Mllm));
        desk.StopFetching(held[0]);
        Assert.Equal(1, desk.BeginLease(WorkRoles.Mllm)!.Most);
    }

    [Fact]
    public void Prompts_wait_a_leases_time_for_their_pictures_then_none_are_taken_for_as_long()
    {
        TimeSpan lease = TimeSpan.FromSeconds(30);
        var desk = new WorkDesk(new WorkerOptions { LeaseTime = lease, Clock = _clock }, batchSize: 4);
        Assert.False(desk.MissPictures());
        _clock.Advance(lease);
        Assert.True(desk.MissPictures());
        Assert.Null(desk.BeginLease(WorkRoles.Mllm));
        Assert.NotNull(desk.BeginLease(WorkRoles.Dit)); // images need none
        _clock.Advance(lease - TimeSpan.FromSeconds(1));
        desk.EndRest();
        Assert.Equal(WorkRoles.Mllm, desk.RestingRoles);
        _clock.Advance(TimeSpan.FromSeconds(1));
        desk.EndRest();
        Assert.NotNull(desk.BeginLease(WorkRoles.Mllm));
        Assert.True(desk.MissPictures()); // they are still away: nothing waits for them again
        desk.PicturesCame();
        Assert.False(desk.MissPictures());
    }

    private RunningBatch Begin(WorkItem item) => new(item.Role, [new HeldItem(new Lease("1", item))], Stall, _clock);
}
