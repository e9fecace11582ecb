using FsCheck.Xunit;

namespace MetaQuery.Farm.Tests.Queue;

public sealed class FairSchedulerTests
{
    private const int Tasks = 10_000;

    [Property(MaxTest = 60)]
    public void Over_10_000_tasks_shares_are_within_5_percent_of_the_weights(int seed)
    {
        var random = new Random(seed);
        var (scheduler, jobs) = Tenants(random, weightsUpTo: 20);
        Serve(scheduler, Tasks);
        CheckShares(jobs, jobs.Sum(job => job.Weight));
    }

    [Property(MaxTest = 60)]
    public void Shares_hold_for_tenants_that_are_empty_for_a_moment_again_and_again(int seed)
    {
        var random = new Random(seed);
        var (scheduler, jobs) = Tenants(random, weightsUpTo: 3); // of 3 to 8 tenants none has more than 60 %: nobody's share is out of reach
        for (int served = 0; served < Tasks; served++)
        {
            foreach (Job job in jobs.Where((_, index) => index % 2 == 0)) // the others always have something: nobody makes up for it
            {
                // a sixth of the time, in spells of 20 picks on average
                job.IsEmpty = job.IsEmpty ? random.Next(20) != 0 : random.Next(100) == 0;
            }

            Assert.True(scheduler.TryNext(out _));
        }

        CheckShares(jobs, jobs.Sum(job => job.Weight));
    }

    [Property(MaxTest = 60)]
    public void Shares_hold_among_those_who_are_there_while_tenants_come_and_go(int seed)
    {
        var random = new Random(seed);
        var (scheduler, jobs) = Tenants(random, weightsUpTo: 5);
        var there = jobs.ToHashSet();
        var expected = jobs.ToDictionary(job => job, _ => 0.0);
        for (int served = 0; served < Tasks; served++)
        {
            if (served % 500 == 499)
            {
                Job changes = jobs[random.Next(jobs.Length)];
                if (there.Count > 1 && there.Remove(changes))
                {
                    Assert.True(scheduler.Remove(changes));
                }
                else if (there.Add(changes))
                {
                    scheduler.Add(changes, changes.Tenant, JobPriority.Bulk, order: served);
                }
            }

            Assert.True(scheduler.TryNext(out Job? job));
            Assert.Contains(job, there);
            double all = there.Sum(one => one.Weight);
            foreach (Job one in there)
            {
                expected[one] += one.Weight / all;
            }
        }

        Assert.All(jobs.Where(job => expected[job] >= 200), job => Assert.InRange(job.Served / expected[job], 0.95, 1.05));
    }

    [Property(MaxTest = 40)]
    public void Nobody_starves_whatever_the_weights(int seed)
    {
        var random = new Random(seed);
        var scheduler = new FairScheduler<Job>();
        Job[] jobs = [.. Enumerable.Range(0, random.Next(1, 12)).Select(i => new Job($"tenant {i}", Math.Pow(10, (random.NextDouble() * 4) - 2)))];
        Add(scheduler, jobs);
        double heaviest = jobs.Max(job => job.Weight);
        var waits = jobs.ToDictionary(job => job, _ => 0);
        for (int served = 0; served < 5000; served++)
        {
            Assert.True(scheduler.TryNext(out Job? next));
            foreach (Job job in jobs)
            {
                waits[job] = job == next ? 0 : waits[job] + 1;

                // a round is at most one item each, and a tenant of weight w comes at least every ⌈heaviest / w⌉ rounds
                Assert.InRange(waits[job], 0, (Math.Ceiling(heaviest / job.Weight) + 1) * jobs.Length);
            }
        }
    }

    [Property(MaxTest = 100)]
    public void Whatever_can_be_given_is_given_and_nothing_else(int seed)
    {
        var random = new Random(seed);
        var (scheduler, jobs) = Tenants(random, weightsUpTo: 20, interactive: true);
        for (int i = 0; i < 1000; i++)
        {
            Array.ForEach(jobs, job => job.IsEmpty = random.Next(3) > 0);
            bool given = scheduler.TryNext(out Job? next);
            Assert.Equal(jobs.Any(job => !job.IsEmpty), given);
            Assert.True(next is null || !next.IsEmpty);
        }
    }

    [Fact]
    public void Looking_in_vain_does_not_change_whose_turn_it_is()
    {
        var scheduler = new FairScheduler<Job>();
        Job[] jobs = [new("a", 1), new("b", 4)];
        Add(scheduler, jobs);
        for (int i = 0; i < 1000; i++)
        {
            Array.ForEach(jobs, job => job.IsEmpty = i % 10 != 0);
            Assert.Equal(i % 10 == 0, scheduler.TryNext(out _));
        }

        Assert.Equal([20, 80], jobs.Select(job => job.Served));
    }

    [Fact]
    public void A_tenant_that_was_away_for_long_does_not_take_everything_when_it_is_back()
    {
        var scheduler = new FairScheduler<Job>();
        Job away = new("away", 1) { IsEmpty = true };
        Job present = new("present", 1);
        Add(scheduler, [away, present]);
        Serve(scheduler, 5000);
        away.IsEmpty = false;
        Serve(scheduler, 1000);
        Assert.InRange(away.Served, 500, 500 + FairScheduler<Job>.RememberedRounds);
    }

    [Fact]
    public void The_oldest_job_of_a_tenant_goes_first_and_a_younger_one_where_it_has_nothing()
    {
        var scheduler = new FairScheduler<Job>();
        Job young = new("a", 1);
        Job old = new("a", 1);
        scheduler.Add(young, "a", JobPriority.Bulk, order: 2);
        scheduler.Add(old, "a", JobPriority.Bulk, order: 1);
        Assert.Equal(old, Next(scheduler));
        old.IsEmpty = true;
        Assert.Equal(young, Next(scheduler));
        old.IsEmpty = false;
        Assert.Equal(old, Next(scheduler));
        scheduler.Remove(old);
        Assert.Equal(young, Next(scheduler));
        Assert.False(scheduler.Remove(old));
    }

    [Fact]
    public void Interactive_goes_first_and_bulk_gets_one_in_16()
    {
        var scheduler = new FairScheduler<Job>();
        Job interactive = new("a", 1);
        Job bulk = new("b", 100);
        scheduler.Add(interactive, "a", JobPriority.Interactive, order: 2);
        scheduler.Add(bulk, "b", JobPriority.Bulk, order: 1);
        Assert.Equal(interactive, Next(scheduler));
        Serve(scheduler, 1599);
        Assert.Equal((1500, 100), (interactive.Served, bulk.Served));
        interactive.IsEmpty = true;
        Serve(scheduler, 10);
        Assert.Equal(110, bulk.Served);
        (interactive.IsEmpty, bulk.IsEmpty) = (false, true);
        Serve(scheduler, 100);
        bulk.IsEmpty = false;
        Assert.Equal(bulk, Next(scheduler)); // its turn was kept, one turn
        Assert.Equal(interactive, Next(scheduler));
    }

    [Fact]
    public void A_weight_changes_from_the_next_item_on()
    {
        var scheduler = new FairScheduler<Job>();
        Job[] jobs = [new("a", 1), new("b", 1)];
        Add(scheduler, jobs);
        Serve(scheduler, 100);
        scheduler.SetWeight("a", 3);
        Serve(scheduler, 400);
        Assert.InRange(jobs[0].Served, 349, 351);
        Assert.Throws<ArgumentOutOfRangeException>(() => scheduler.SetWeight("a", 0));
        Assert.Throws<ArgumentOutOfRangeException>(() => scheduler.SetWeight("a", double.NaN));
    }

    [Property(MaxTest = 40)]
    public void Of_any_16_items_taken_while_both_classes_wait_one_is_bulk(byte[] batches)
    {
        var turns = new PriorityTurns();
        var one = new PriorityTurns();
        var taken = new List<JobPriority>();
        foreach (byte batch in batches)
        {
            int bulk = turns.BulkAmong(batch);
            turns.Took(batch - bulk, bulk);
            for (int i = 0; i < batch; i++)
            {
                taken.Add(one.First);
                one.Took(one.First);
            }

            Assert.Equal(bulk, taken.TakeLast(batch).Count(priority => priority == JobPriority.Bulk)); // asked at once or one by one
        }

        for (int end = 16; end <= taken.Count; end++)
        {
            Assert.Single(taken[(end - 16)..end], JobPriority.Bulk);
        }
    }

    private static (FairScheduler<Job> Scheduler, Job[] Jobs) Tenants(Random random, int weightsUpTo, bool interactive = false)
    {
        var scheduler = new FairScheduler<Job>();
        Job[] jobs = [.. Enumerable.Range(0, random.Next(3, 9)).Select(i => new Job($"tenant {i}", random.Next(1, weightsUpTo + 1)))];
        if (jobs.Max(job => job.Weight) > 0.6 * jobs.Sum(job => job.Weight))
        {
            jobs = [new("tenant 0", 1), new("tenant 1", 1), new("tenant 2", 2)];
        }

        Add(scheduler, jobs, interactive);
        return (scheduler, jobs);
    }

    private static void Add(FairScheduler<Job> scheduler, IEnumerable<Job> jobs, bool interactive = false)
    {
        foreach ((int index, Job job) in jobs.Index())
        {
            scheduler.SetWeight(job.Tenant, job.Weight);
            scheduler.Add(job, job.Tenant, interactive && index % 2 == 0 ? JobPriority.Interactive : JobPriority.Bulk, order: index);
        }
    }

    private static void Serve(FairScheduler<Job> scheduler, int tasks)
    {
        for (int i = 0; i < tasks; i++)
        {
            Assert.True(scheduler.TryNext(out _));
        }
    }

    private static Job Next(FairScheduler<Job> scheduler)
    {
        Assert.True(scheduler.TryNext(out Job? job));
        return job;
    }

    private static void CheckShares(Job[] jobs, double allWeights)
    {
        Assert.Equal(Tasks, jobs.Sum(job => job.Served));
        Assert.All(jobs, job => Assert.InRange(job.Served / (Tasks * job.Weight / allWeights), 0.95, 1.05));
    }

    private sealed class Job(string tenant, double weight) : IWorkSource<Job>
    {
        public string Tenant { get; } = tenant;
        public double Weight { get; } = weight;
        public bool IsEmpty { get; set; }
        public int Served { get; private set; }

        public bool TryTake([System.Diagnostics.CodeAnalysis.MaybeNullWhen(false)] out Job item)
        {
            item = IsEmpty ? null : this;
            Served += IsEmpty ? 0 : 1;
            return !IsEmpty;
        }
    }
}
