using System.Security.Cryptography;
using MetaQuery.Farm;
using MetaQuery.TestKit;

namespace MetaQuery.Redis.Tests;

public sealed class ConditionTests(RealRedis redis) : IClassFixture<RealRedis>
{
    private const int ConditionBytes = 10_240;
    private const int HeldBytes = ConditionBytes + 28;

    [Fact]
    public async Task A_condition_comes_back_to_every_process_as_it_was()
    {
        await using var farm = new TestFarm(redis);
        var tier = new RedisConditionTier(await farm.ConnectAsync());
        var other = new RedisConditionTier(await farm.ConnectAsync());
        byte[] condition = RandomNumberGenerator.GetBytes(ConditionBytes);
        Assert.Null(tier.TryRead(Key(1), out bool isCorrupt));
        Assert.False(isCorrupt);
        tier.Write(Key(1), condition);
        Assert.Equal(condition, other.TryRead(Key(1), out isCorrupt));
        Assert.False(isCorrupt);
        tier.Write(Key(1), condition);
        Assert.Equal(HeldBytes, tier.Bytes);
        Assert.Equal("redis", tier.Name);
    }

    [Fact]
    public async Task A_damaged_condition_is_removed_and_counted_out()
    {
        await using var farm = new TestFarm(redis);
        var tier = new RedisConditionTier(await farm.ConnectAsync());
        tier.Write(Key(1), new byte[ConditionBytes]);
        tier.Write(Key(2), new byte[ConditionBytes]);
        redis.Command("SETRANGE", farm.Key($"c:{Key(1)}"), "5000", "x");
        redis.Command("SET", farm.Key($"c:{Key(2)}"), "short");
        foreach (int number in new[] { 1, 2 })
        {
            Assert.Null(tier.TryRead(Key(number), out bool isCorrupt));
            Assert.True(isCorrupt);
            Assert.Null(tier.TryRead(Key(number), out isCorrupt));
            Assert.False(isCorrupt);
        }

        Assert.Equal(0, tier.Bytes);
        Assert.Equal(["conditions:sizes"], farm.Keys);
    }

    [Fact]
    public async Task The_budget_holds_and_the_least_recently_used_go_first()
    {
        await using var farm = new TestFarm(redis);
        var tier = new RedisConditionTier(await farm.ConnectAsync(), new RedisConditionOptions { BudgetBytes = 10 * HeldBytes });
        for (int number = 0; number < 10; number++)
        {
            tier.Write(Key(number), new byte[ConditionBytes]);
        }

        Assert.NotNull(tier.TryRead(Key(0), out _));
        Assert.NotNull(tier.TryRead(Key(3), out _));
        for (int number = 10; number < 18; number++)
        {
            tier.Write(Key(number), new byte[ConditionBytes]);
        }

        Assert.Equal([0, 3, .. Enumerable.Range(10, 8)], Enumerable.Range(0, 18).Where(number => tier.TryRead(Key(number), out _) is not null));
        Assert.Equal(10 * HeldBytes, tier.Bytes);
        Assert.Equal((8L, 8L), (tier.Evictions, new ConditionCache(0, [tier]).Counters.RedisEvictions));
        tier.Write(Key(99), new byte[11 * ConditionBytes]); // never fits: nothing goes for it
        Assert.Equal(10 * HeldBytes, tier.Bytes);
        Assert.Equal(10, farm.Keys.Count(key => key.StartsWith("c:", StringComparison.Ordinal)));
        var smaller = new RedisConditionTier(await farm.ConnectAsync(), new RedisConditionOptions { BudgetBytes = 3 * HeldBytes });
        smaller.Write(Key(50), new byte[ConditionBytes]);
        Assert.Equal(3 * HeldBytes, smaller.Bytes);
    }

    [Fact]
    public async Task A_condition_that_nobody_used_in_its_time_goes_and_the_count_of_bytes_stays_right()
    {
        await using var farm = new TestFarm(redis);
        var tier = new RedisConditionTier(await farm.ConnectAsync(), new RedisConditionOptions { TimeToLive = TimeSpan.FromMilliseconds(1500) });
        tier.Write(Key(1), new byte[ConditionBytes]);
        tier.Write(Key(2), new byte[ConditionBytes]);
        tier.Write(Key(3), new byte[ConditionBytes]);
        await TestFarm.UntilAsync(
            async () =>
            {
                await Task.Delay(50);
                Assert.NotNull(tier.TryRead(Key(1), out _)); // used all the time
                return farm.Keys.Count(key => key.StartsWith("c:", StringComparison.Ordinal)) == 1;
            },
            "the unused ones go");
        Assert.Null(tier.TryRead(Key(2), out _)); // noticed by who asks for it
        Assert.Equal(2 * HeldBytes, tier.Bytes);
        tier.Write(Key(4), new byte[ConditionBytes]); // and by who writes
        Assert.Equal(2 * HeldBytes, tier.Bytes);
    }

    [Fact]
    public async Task Ten_processes_that_want_the_same_conditions_at_once_make_each_once()
    {
        await using var farm = new TestFarm(redis);
        int passes = 0;
        var clients = new List<ConditionCache>();
        for (int client = 0; client < 10; client++)
        {
            RedisConnection connection = await farm.ConnectAsync();
            clients.Add(new ConditionCache(1 << 20, [new RedisConditionTier(connection)], new RedisFlightBoard(connection)));
        }

        EncodeItem[] items = [.. Enumerable.Range(0, 8).Select(number => TestFarm.Encode($"caption {number}"))];
        // threads of their own, as slots are: the tiers block whoever calls them
        byte[][][] found = await Task.WhenAll(clients.Select((client, number) => Task.Factory.StartNew(
            () =>
            {
                while (true)
                {
                    using ConditionFlights flights = client.Depart([.. items.Select(item => new ConditionLookup(item.Key, item.Request, KeepOnDisk: false))]);
                    Interlocked.Add(ref passes, flights.ToMake.Count);
                    Thread.Sleep(100);
                    flights.Land([.. flights.ToMake.Select(lookup => new byte[] { (byte)number, (byte)lookup.Request.Caption[^1] })]);
                    if (Array.TrueForAll(flights.Found, condition => condition is not null))
                    {
                        return Array.ConvertAll(flights.Found, condition => condition!);
                    }
                }
            },
            CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default)));
        Assert.Equal(items.Length, passes);
        Assert.All(found, conditions => Assert.Equal(found[0].SelectMany(bytes => bytes), conditions.SelectMany(bytes => bytes)));
        Assert.Equal(items.Select(item => (byte)item.Request.Caption[^1]), found[0].Select(condition => condition[1]));
        await TestFarm.UntilAsync(() => Task.FromResult(!farm.Keys.Any(key => key.StartsWith("f:", StringComparison.Ordinal))), "no flight is left");
    }

    [Fact]
    public async Task A_flight_whose_holder_died_is_anothers_after_its_time_and_the_dead_ones_end_changes_nothing()
    {
        await using var farm = new TestFarm(redis);
        var board = new RedisFlightBoard(await farm.ConnectAsync(), TimeSpan.FromMilliseconds(200));
        var other = new RedisFlightBoard(await farm.ConnectAsync());
        IDisposable dead = board.TryTake(Key(1))!;
        Assert.Null(other.TryTake(Key(1)));
        IDisposable? right = null;
        await TestFarm.UntilAsync(() => Task.FromResult((right = other.TryTake(Key(1))) is not null), "the flight runs out");
        dead.Dispose();
        dead.Dispose();
        Assert.Null(board.TryTake(Key(1)));
        right!.Dispose();
        await TestFarm.UntilAsync(
            () =>
            {
                using IDisposable? again = board.TryTake(Key(1));
                return Task.FromResult(again is not null);
            },
            "free again");
    }

    [Fact]
    public async Task A_living_holders_flight_is_renewed()
    {
        await using var farm = new TestFarm(redis);
        var board = new RedisFlightBoard(await farm.ConnectAsync(), TimeSpan.FromSeconds(6), TimeSpan.FromMinutes(1));
        using IDisposable holder = board.TryTake(Key(1))!;
        string flight = farm.Key(Assert.Single(farm.Keys, key => key.StartsWith("f:", StringComparison.Ordinal)));
        long before = long.MaxValue;
        await TestFarm.UntilAsync(
            () =>
            {
                var left = (long)redis.Command("PTTL", flight)!;
                Assert.InRange(left, 1, 6000);
                bool isRenewed = left > before;
                before = left;
                return Task.FromResult(isRenewed);
            },
            "the right lasts longer than it did");
    }

    private static ConditionKey Key(int number) => TestFarm.Encode($"caption {number}").Key;
}
