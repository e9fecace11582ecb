using System.Text;
using MetaQuery.Farm.Tests.Doubles;

namespace MetaQuery.Farm.Tests;

public sealed class ConditionCacheTests
{
    private static readonly ConditionIdentity Identity = new("rev", "tok", "template", "system", 16, "bfloat16", "numerics", 8);

    [Fact]
    public void What_many_threads_ask_for_at_once_is_encoded_once()
    {
        var cache = new ConditionCache(1 << 20, disk: null);
        int passes = 0;
        using var allAsked = new Barrier(8);
        Parallel.For(0, 8, new ParallelOptions { MaxDegreeOfParallelism = 8 }, thread =>
        {
            // each thread wants all four, in another order: two that wait for each other's must not both be stuck
            string[] captions = [.. Enumerable.Range(0, 4).Select(i => $"caption {(i + thread) % 4}")];
            byte[][] found = cache.GetOrEncode([.. captions.Select(caption => Lookup(caption))], (requests, _) =>
            {
                Interlocked.Add(ref passes, requests.Count);
                return Encode(requests);
            }, CancellationToken.None);
            Assert.Equal(captions.Select(caption => Encode(caption)), found);
        });
        Assert.Equal(4, passes);
        ConditionCacheCounters counters = cache.Counters;
        Assert.Equal(4, counters.Misses);
        Assert.Equal(28, counters.MemoryHits + counters.SharedFlights);
    }

    [Fact]
    public void A_caption_twice_in_one_call_is_encoded_once()
    {
        var cache = new ConditionCache(1 << 20, disk: null);
        byte[][] found = cache.GetOrEncode([Lookup("a"), Lookup("a")], (requests, _) =>
        {
            Assert.Single(requests);
            return Encode(requests);
        }, CancellationToken.None);
        Assert.Same(found[0], found[1]);
    }

    [Fact]
    public void Memory_stays_within_its_budget_and_drops_the_least_recently_used()
    {
        var cache = new ConditionCache(memoryBudgetBytes: 24, disk: null);
        Get(cache, "a");
        Get(cache, "b");
        Get(cache, "c");
        Get(cache, "a");
        Get(cache, "d"); // b is the oldest now
        Assert.Equal(24, cache.Counters.MemoryBytes);
        Assert.Equal(1, cache.Counters.Evictions);
        Assert.False(Get(cache, "a"));
        Assert.False(Get(cache, "c"));
        Assert.True(Get(cache, "b"));
    }

    [Fact]
    public void An_entry_larger_than_the_budget_is_made_each_time_rather_than_refused()
    {
        var cache = new ConditionCache(memoryBudgetBytes: 7, disk: null);
        Assert.True(Get(cache, "a"));
        Assert.True(Get(cache, "a"));
        Assert.Equal(0, cache.Counters.MemoryBytes);
    }

    [Fact]
    public void A_condition_that_left_memory_comes_back_from_disk()
    {
        using var work = new Workspace();
        var cache = new ConditionCache(memoryBudgetBytes: 8, new DiskConditionTier(work["conditions"], 1 << 20));
        Get(cache, "a", keepOnDisk: true);
        Get(cache, "b");
        Assert.False(Get(cache, "a"));
        Assert.Equal(1, cache.Counters.DiskHits);

        var later = new ConditionCache(1 << 20, new DiskConditionTier(work["conditions"], 1 << 20));
        Assert.False(Get(later, "a"));
        Assert.True(Get(later, "b"));
    }

    [Fact]
    public void The_disk_tier_stays_within_its_budget()
    {
        using var work = new Workspace();
        var disk = new DiskConditionTier(work["conditions"], budgetBytes: 120); // two entries of 44 + 8 bytes
        var cache = new ConditionCache(memoryBudgetBytes: 0, disk);
        Get(cache, "a", keepOnDisk: true);
        Get(cache, "b", keepOnDisk: true);
        Get(cache, "a", keepOnDisk: true);
        Get(cache, "c", keepOnDisk: true);
        Assert.Equal(2, Directory.GetFiles(work["conditions"]).Length);
        Assert.Equal(104, disk.Bytes);
        Assert.Equal((0L, 1L), (cache.Counters.Evictions, cache.Counters.DiskEvictions));
        Assert.False(Get(cache, "a", keepOnDisk: true));
        Assert.True(Get(cache, "b", keepOnDisk: true));
    }

    [Fact]
    public void A_damaged_entry_is_made_again_whatever_byte_is_wrong()
    {
        using var work = new Workspace();
        string folder = work["conditions"];
        Get(new ConditionCache(0, new DiskConditionTier(folder, 1 << 20)), "a", keepOnDisk: true);
        string path = Directory.GetFiles(folder).Single();
        byte[] good = File.ReadAllBytes(path);
        for (int i = 0; i <= good.Length; i++)
        {
            byte[] bad = i < good.Length ? [.. good] : good[..^1];
            if (i < good.Length)
            {
                bad[i] ^= 0x20;
            }

            File.WriteAllBytes(path, bad);
            var cache = new ConditionCache(0, new DiskConditionTier(folder, 1 << 20));
            Assert.True(Get(cache, "a", keepOnDisk: true));
            Assert.Equal(1, cache.Counters.CorruptEntries);
            Assert.Equal(good, File.ReadAllBytes(path));
        }
    }

    [Fact]
    public void A_failed_pass_fails_its_caller_and_leaves_nothing_behind()
    {
        var cache = new ConditionCache(1 << 20, disk: null);
        Assert.Throws<TimeoutException>(() => cache.GetOrEncode([Lookup("a")], (_, _) => throw new TimeoutException(), CancellationToken.None));
        Assert.True(Get(cache, "a"));
    }

    [Fact]
    public async Task Who_waits_for_a_pass_that_fails_makes_the_condition_itself()
    {
        var cache = new ConditionCache(1 << 20, disk: null);
        using var started = new ManualResetEventSlim();
        using var waiting = new ManualResetEventSlim();
        Task first = Task.Factory.StartNew(() => Assert.Throws<TimeoutException>(() => cache.GetOrEncode([Lookup("a")], (_, _) =>
        {
            started.Set();
            waiting.Wait();
            throw new TimeoutException();
        }, CancellationToken.None)), TaskCreationOptions.LongRunning);
        started.Wait();
        Task<bool> second = Task.Factory.StartNew(() => Get(cache, "a"), TaskCreationOptions.LongRunning);
        waiting.Set();
        await first;
        Assert.True(await second);
    }

    [Fact]
    public void Tiers_are_asked_in_their_order_and_each_gets_what_it_keeps()
    {
        using var work = new Workspace();
        var shared = new SharedTier();
        var disk = new DiskConditionTier(work["conditions"], 1 << 20);
        var cache = new ConditionCache(memoryBudgetBytes: 0, [shared, disk], shared);
        Assert.True(Get(cache, "often", keepOnDisk: true));
        Assert.True(Get(cache, "once"));
        Assert.Equal((16, 1), (shared.Bytes, Directory.GetFiles(work["conditions"]).Length));
        Assert.False(Get(cache, "often", keepOnDisk: true));
        Assert.False(Get(cache, "once"));
        ConditionCacheCounters counters = cache.Counters;
        Assert.Equal((2, 0, 2, 0), (counters.RedisHits, counters.DiskHits, counters.Misses, counters.MadeAgain));
        shared.Evict(Lookup("often").Key);
        shared.Evict(Lookup("once").Key);
        Assert.False(Get(cache, "often", keepOnDisk: true));
        Assert.True(Get(cache, "once"));
        counters = cache.Counters;
        Assert.Equal((2, 1, 3, 1), (counters.RedisHits, counters.DiskHits, counters.Misses, counters.MadeAgain));
    }

    [Fact]
    public void A_condition_is_put_where_others_find_it_from_wherever_it_is()
    {
        using var work = new Workspace();
        var shared = new SharedTier();
        Get(new ConditionCache(0, new DiskConditionTier(work["conditions"], 1 << 20)), "a", keepOnDisk: true);
        var cache = new ConditionCache(1 << 20, [shared, new DiskConditionTier(work["conditions"], 1 << 20)]);
        Assert.False(cache.TryPublish(Lookup("b")));
        Assert.True(cache.TryPublish(Lookup("a")));
        Assert.Equal(Encode("a"), shared.TryRead(Lookup("a").Key, out _));
        Assert.Equal(0, cache.Counters.Misses);
    }

    [Fact]
    public void A_process_waits_while_another_makes_the_condition_and_takes_over_when_that_one_dies()
    {
        var shared = new SharedTier();
        var ours = new ConditionCache(1 << 20, [shared], shared);
        IDisposable theirs = shared.TryTake(Lookup("a").Key)!;
        using (ConditionFlights flights = ours.Depart([Lookup("a"), Lookup("b")]))
        {
            Assert.Equal("b", Assert.Single(flights.ToMake).Request.Caption);
            Assert.Equal([(0, null)], flights.Elsewhere);
            flights.Land([Encode("b")]);
        }

        theirs.Dispose(); // its right ran out
        using ConditionFlights again = ours.Depart([Lookup("a"), Lookup("b")]);
        Assert.Equal("a", Assert.Single(again.ToMake).Request.Caption);
        Assert.Equal(Encode("b"), again.Found[1]);
    }

    [Fact]
    public void What_another_process_made_between_the_look_and_the_right_is_not_made_again()
    {
        var shared = new SharedTier();
        int reads = 0;
        // it lands right after this cache has looked for it in vain
        shared.Before = () =>
        {
            if (++reads == 2)
            {
                shared.Before = () => { };
                shared.Write(Lookup("a").Key, Encode("a"));
            }
        };
        using ConditionFlights flights = new ConditionCache(0, [shared], shared).Depart([Lookup("a")]);
        Assert.Empty(flights.ToMake);
        Assert.Equal(Encode("a"), flights.Found[0]);
        Assert.NotNull(shared.TryTake(Lookup("a").Key));
    }

    [Fact]
    public void A_landing_that_a_tier_interrupts_goes_on_where_it_was_and_counts_once()
    {
        var shared = new SharedTier();
        var cache = new ConditionCache(1 << 20, [shared], shared);
        using ConditionFlights flights = cache.Depart([Lookup("a"), Lookup("b")]);
        int calls = 0;
        shared.Before = () =>
        {
            if (++calls == 2)
            {
                throw new WorkQueueException("cut");
            }
        };
        Assert.Throws<WorkQueueException>(() => flights.Land([Encode("a"), Encode("b")]));
        flights.Land([Encode("a"), Encode("b")]);
        Assert.Equal((2, 16), (cache.Counters.Misses, shared.Bytes));
        Assert.Equal(3, calls);
    }

    [Fact]
    public void What_killed_processes_left_half_written_goes_with_the_next_start_and_what_lives_stays()
    {
        using var work = new Workspace();
        string folder = Directory.CreateDirectory(work["conditions"]).FullName;
        string mine = TemporaryFiles.NameFor(Path.Combine(folder, "a.condition"));
        string[] parts = mine.Split('~');
        string dead = string.Join('~', parts[0], parts[1], "4194305", parts[3], "1"); // beyond the largest process id of Linux
        string former = string.Join('~', parts[0], parts[1], parts[2], "600000000000000000", "1"); // this id belonged to an earlier process
        string elsewhere = string.Join('~', parts[0], "another-host", parts[2], parts[3], "1");
        string old = string.Join('~', parts[0], "another-host", parts[2], parts[3], "2");
        foreach (string path in (string[])[mine, dead, former, elsewhere, old])
        {
            File.WriteAllText(path, "half");
        }

        File.SetLastWriteTimeUtc(old, DateTime.UtcNow.AddHours(-2));
        _ = new DiskConditionTier(folder, 1 << 20);
        Assert.Equal(new[] { mine, elsewhere }.Order(), Directory.GetFiles(folder).Order());
    }

    [Fact]
    public void Processes_that_share_a_folder_keep_its_budget_together()
    {
        using var work = new Workspace();
        DiskConditionTier[] tiers = [.. Enumerable.Range(0, 3).Select(_ => new DiskConditionTier(work["conditions"], budgetBytes: 52 * 32))];
        for (int i = 0; i < 300; i++)
        {
            tiers[i % 3].Write(Lookup($"{i}").Key, Encode($"{i}"));
        }

        Assert.InRange(Directory.GetFiles(work["conditions"]).Length, 24, 32 + (3 * 3));
    }

    private static bool Get(ConditionCache cache, string caption, bool keepOnDisk = false)
    {
        bool made = false;
        byte[] condition = cache.GetOrEncode([Lookup(caption, keepOnDisk)], (requests, _) =>
        {
            made = true;
            return Encode(requests);
        }, CancellationToken.None)[0];
        Assert.Equal(Encode(caption), condition);
        return made;
    }

    private static ConditionLookup Lookup(string caption, bool keepOnDisk = false)
    {
        var request = new ConditionRequest(caption);
        return new ConditionLookup(ConditionKey.Create(Identity, request), request, keepOnDisk);
    }

    private static byte[][] Encode(IReadOnlyList<ConditionRequest> requests) => [.. requests.Select(request => Encode(request.Caption))];

    private static byte[] Encode(string caption) => Encoding.UTF8.GetBytes(caption.PadLeft(8)[^8..]);
}
