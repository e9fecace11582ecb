using MetaQuery.Farm;
using MetaQuery.TestKit;

namespace MetaQuery.Redis.Tests;

public sealed class RegistryTests(RealRedis redis) : IClassFixture<RealRedis>
{
    private static readonly CancellationToken None = CancellationToken.None;
    private static readonly TimeSpan Silence = TimeSpan.FromSeconds(30);

    [Fact]
    public async Task A_worker_is_listed_with_all_that_it_said_of_itself()
    {
        await using var farm = new TestFarm(redis);
        var head = new RedisWorkerRegistry(await farm.ConnectAsync(), Silence);
        var registry = new RedisWorkerRegistry(await farm.ConnectAsync(), Silence);
        await registry.JoinAsync(Worker("a"), None);
        await registry.JoinAsync(Worker("b", startedAt: 5), None);
        await registry.HeartbeatAsync("b", Status(7), None);
        IReadOnlyList<WorkerView> views = await head.ListAsync(None);
        Assert.Equal([Worker("b", startedAt: 5), Worker("a")], views.Select(view => view.Info));
        Assert.Equal(Status(7) with { Slots = [] }, views[0].Status with { Slots = [] });
        Assert.Equal(["job_1", "job_2"], Assert.Single(views[0].Status.Slots).JobIds);
        Assert.Equal(WorkerState.Running, views[1].Status.State);
        Assert.All(views, view => Assert.InRange(view.SinceHeartbeat, TimeSpan.Zero, TimeSpan.FromSeconds(10)));
        await registry.LeaveAsync("b", None);
        Assert.Equal(["a"], (await head.ListAsync(None)).Select(view => view.Info.Id));
        await registry.LeaveAsync("a", None);
        Assert.Empty(farm.Keys);
    }

    [Fact]
    public async Task What_another_program_wrote_of_its_workers_does_not_end_the_head()
    {
        await using var farm = new TestFarm(redis);
        var registry = new RedisWorkerRegistry(await farm.ConnectAsync(), Silence);
        await registry.JoinAsync(Worker("a"), None);
        foreach ((string id, string version, string info, string status) in new[] { ("later", "2", "{}", "{}"), ("torn", "1", "{\"id\":", "{}"), ("other", "1", "{\"id\":\"other\"}", "{}") })
        {
            redis.Command("HSET", farm.Key("worker:" + id), "v", version, "info", info, "status", status, "seen", "0");
            redis.Command("SADD", farm.Key("workers"), id);
        }

        Assert.Equal(["a"], (await registry.ListAsync(None)).Select(view => view.Info.Id));
    }

    [Fact]
    public async Task A_worker_is_asked_to_drain_by_its_next_heartbeat()
    {
        await using var farm = new TestFarm(redis);
        var head = new RedisWorkerRegistry(await farm.ConnectAsync(), Silence);
        var registry = new RedisWorkerRegistry(await farm.ConnectAsync(), Silence);
        await registry.JoinAsync(Worker("a"), None);
        Assert.False(await registry.HeartbeatAsync("a", Status(0), None));
        Assert.True(await head.DrainAsync("a", None));
        Assert.False(await head.DrainAsync("nobody", None));
        Assert.True(await registry.HeartbeatAsync("a", Status(0), None));
        await registry.JoinAsync(Worker("a"), None); // a new start
        Assert.False(await registry.HeartbeatAsync("a", Status(0), None));
    }

    [Fact]
    public async Task A_worker_of_another_model_is_refused_with_both_revisions()
    {
        await using var farm = new TestFarm(redis);
        var head = new RedisWorkerRegistry(await farm.ConnectAsync(), Silence);
        var registry = new RedisWorkerRegistry(await farm.ConnectAsync(), Silence);
        await registry.JoinAsync(Worker("early", "old"), None);
        await head.RequireModelAsync("new", "encoder", None);
        var images = await Assert.ThrowsAsync<ModelMismatchException>(async () => await registry.JoinAsync(Worker("late", "old"), None));
        Assert.Contains("revision old", images.Message, StringComparison.Ordinal);
        Assert.Contains("revision new", images.Message, StringComparison.Ordinal);
        await head.RequireModelAsync("old", "other encoder", None);
        var conditions = await Assert.ThrowsAsync<ModelMismatchException>(async () => await registry.JoinAsync(Worker("late", "old"), None));
        Assert.Contains("revision encoder", conditions.Message, StringComparison.Ordinal);
        Assert.Contains("revision other encoder", conditions.Message, StringComparison.Ordinal);
        await head.RequireModelAsync("old", "encoder", None);
        await registry.JoinAsync(Worker("late", "old"), None);
    }

    [Fact]
    public async Task A_silent_worker_is_gone_from_the_list_and_then_from_redis_and_a_word_brings_it_back()
    {
        await using var farm = new TestFarm(redis);
        TimeSpan silence = TimeSpan.FromMilliseconds(150);
        var head = new RedisWorkerRegistry(await farm.ConnectAsync(), silence);
        var registry = new RedisWorkerRegistry(await farm.ConnectAsync(), silence);
        await registry.JoinAsync(Worker("a"), None);
        Assert.Single(await head.ListAsync(None));
        await TestFarm.UntilAsync(async () => (await head.ListAsync(None)).Count == 0, "gone from the list");
        Assert.False(await registry.HeartbeatAsync("a", Status(1), None));
        Assert.Single(await head.ListAsync(None));
        await TestFarm.UntilAsync(async () => (await head.ListAsync(None)).Count == 0 && farm.Keys.Length == 0, "gone from Redis");
        Assert.False(await registry.HeartbeatAsync("a", Status(2), None));
        Assert.Equal(2, Assert.Single(await head.ListAsync(None)).Status.ImagesMade);
        await Assert.ThrowsAsync<WorkQueueException>(async () => await registry.HeartbeatAsync("never joined", Status(0), None));
    }

    [Fact]
    public async Task After_a_server_came_back_empty_workers_and_the_required_model_are_there_again()
    {
        using var own = new RealRedis();
        await using var farm = new TestFarm(own);
        var head = new RedisWorkerRegistry(await farm.ConnectAsync(), Silence);
        var registry = new RedisWorkerRegistry(await farm.ConnectAsync(), Silence);
        await head.RequireModelAsync("model", "encoder", None);
        await registry.JoinAsync(Worker("a"), None);
        own.Command("FLUSHALL");
        Assert.Empty(await head.ListAsync(None));
        await registry.HeartbeatAsync("a", Status(0), None);
        Assert.Single(await head.ListAsync(None));
        await Assert.ThrowsAsync<ModelMismatchException>(async () => await registry.JoinAsync(Worker("b", "other"), None));
    }

    internal static WorkerInfo Worker(string id, string revision = "model", int startedAt = 10) => new(
        id, "host ü", 42, WorkRoles.Both, 2, "cuda:0", "lane", new ConditionIdentity("encoder", "tokenizer", "{{ \"t\" }}", "system\n", 16, "bfloat16", "n", 64),
        new ImageModelInfo(revision, "nano", new ImageSize(64, 96), 8, 32, 512, 20, 4.5f, 4, new NumericsFingerprint("float32", "avx512", 1, "libtorch 1.13", "amx")),
        new DateTimeOffset(2026, 1, 2, 3, 4, startedAt, TimeSpan.Zero));

    internal static WorkerStatus Status(long images) => new(
        WorkerState.Running, [new SlotStatus("denoise", 4, ["job_1", "job_2"], new DateTimeOffset(2026, 1, 2, 3, 4, 6, TimeSpan.Zero))], 1.25, 0.5, images, 3, 0.75,
        new ConditionCacheCounters(1, 2, 3, 4, 5, 6, 7, 8));
}
