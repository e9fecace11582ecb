using MetaQuery.Farm.Tests.Doubles;

namespace MetaQuery.Farm.Tests.Queue;

public sealed class WorkerRegistryTests
{
    private readonly ManualClock _clock = new();
    private readonly MemoryWorkerRegistry _registry;

    public WorkerRegistryTests() => _registry = new MemoryWorkerRegistry(TimeSpan.FromSeconds(30), _clock);

    [Fact]
    public async Task A_silent_worker_is_gone_and_is_back_with_its_next_word()
    {
        await _registry.JoinAsync(Worker("a"), default);
        await _registry.JoinAsync(Worker("b"), default);
        _clock.Advance(TimeSpan.FromSeconds(20));
        Assert.False(await _registry.HeartbeatAsync("b", Busy, default));
        _clock.Advance(TimeSpan.FromSeconds(11));
        WorkerView view = Assert.Single(await _registry.ListAsync(default));
        Assert.Equal(("b", TimeSpan.FromSeconds(11), Busy), (view.Info.Id, view.SinceHeartbeat, view.Status));
        await _registry.HeartbeatAsync("a", Busy, default);
        Assert.Equal(["a", "b"], (await _registry.ListAsync(default)).Select(worker => worker.Info.Id));
    }

    [Fact]
    public async Task A_worker_is_told_to_drain_until_it_leaves()
    {
        await _registry.JoinAsync(Worker("a"), default);
        Assert.True(await _registry.DrainAsync("a", default));
        Assert.True(await _registry.HeartbeatAsync("a", Busy, default));
        Assert.True(await _registry.HeartbeatAsync("a", Busy, default));
        await _registry.LeaveAsync("a", default);
        Assert.False(await _registry.DrainAsync("a", default));
        Assert.Empty(await _registry.ListAsync(default));
        await Assert.ThrowsAsync<WorkQueueException>(async () => await _registry.HeartbeatAsync("a", Busy, default));
    }

    [Fact]
    public async Task A_worker_with_another_model_is_refused_with_both_revisions()
    {
        await _registry.RequireModelAsync("images-7", "toy-1", default);
        string message = (await Assert.ThrowsAsync<ModelMismatchException>(async () => await _registry.JoinAsync(Worker("a"), default))).Message;
        Assert.Contains("images-7", message, StringComparison.Ordinal);
        Assert.Contains("toy-1", message, StringComparison.Ordinal);
        Assert.Empty(await _registry.ListAsync(default));
        await _registry.RequireModelAsync("toy-1", "toy-1", default);
        await _registry.JoinAsync(Worker("a"), default);
    }

    private static readonly WorkerStatus Busy = new(
        WorkerState.Running, [], 2.5, 1, 10, 3, 0.99, new ConditionCacheCounters(1, 2, 3, 4, 5, 6, 7, 8));

    private static WorkerInfo Worker(string id)
    {
        ModelDescription model = new ToyModel().Description;
        return new WorkerInfo(id, "host", 1, WorkRoles.Both, 2, "cpu", model.Lane, model.Conditions, model.Images, DateTimeOffset.UnixEpoch);
    }
}
