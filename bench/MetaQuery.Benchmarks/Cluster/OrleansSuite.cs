using System.Diagnostics;
using System.Globalization;
using MetaQuery.Chaos;
using MetaQuery.Data;
using MetaQuery.Orleans;

namespace MetaQuery.Benchmarks.Cluster;

/// <summary>Three silos on this machine: <c>./farm bench orleans</c>. Calls through the grains, death and fail-over, draining.</summary>
internal sealed class OrleansSuite(BenchmarkReport report)
{
    private const int Kills = 30;
    private const int Tasks = 2000;
    private const int Callers = 256;
    private const int JobPrompts = 24; // of four images each: enough that every silo holds work until it is killed or drained
    private static readonly TimeSpan CallsFor = TimeSpan.FromSeconds(8);

    /// <summary>The parts by name, in the order they run.</summary>
    public IReadOnlyList<(string Name, Func<SiloTrio, Task> Measure)> Parts => [("calls", CallsAsync), ("failover", FailOverAsync), ("drain", DrainAsync), ("kills", KillsAsync)];

    /// <exception cref="BenchmarkException">A part could not be measured.</exception>
    public static async Task<BenchmarkReport> RunAsync(IReadOnlyList<string> only)
    {
        var report = new BenchmarkReport();
        report.Say("machine", $"{Machine.Name}, {Machine.Cores} cores");
        using var silos = new SiloTrio();
        await silos.WhenActiveAsync(silos.Silos.Count);
        foreach (var (name, measure) in new OrleansSuite(report).Parts)
        {
            if (only.Count == 0 || only.Contains(name, StringComparer.Ordinal))
            {
                Console.Error.WriteLine($"bench: {name}");
                await measure(silos);
            }
        }

        return report;
    }

    /// <summary>From one client: what an admin asks (a slot's state, spread over all silos), and a call that does nothing.</summary>
    private async Task CallsAsync(SiloTrio silos)
    {
        await using ClusterConnection connection = await silos.ConnectAsync();
        IAdminGrain admin = connection.Grains.GetGrain<IAdminGrain>(0);
        IDitGrain[] slots = [.. (await admin.ListSilosAsync()).Select(silo => connection.Grains.GetGrain<IDitGrain>($"{silo.Id}/0"))];
        await RateAsync(i => slots[i % slots.Length].GetAsync(), TimeSpan.FromSeconds(3)); // compiled and connected
        report.Add("slotCallsPerSecond", "a slot's state asked through its grain, three silos, one client", "calls/s", await RateAsync(i => slots[i % slots.Length].GetAsync(), CallsFor));
        await RateAsync(i => admin.PingAsync(i).AsTask(), TimeSpan.FromSeconds(2));
        report.Add("pingCallsPerSecond", "a call that does nothing, one grain, one client", "calls/s", await RateAsync(i => admin.PingAsync(i).AsTask(), CallsFor));
        string job = await silos.SubmitAsync(4, 1, steps: 1);
        await silos.UntilAsync(job, status => status.IsFinal, "a small job's end");
        IJobGrain grain = connection.Grains.GetGrain<IJobGrain>(job);
        report.Add("jobCallsPerSecond", "a job's state asked through its grain, one grain, one client", "calls/s", await RateAsync(_ => grain.GetAsync(tenant: null), CallsFor));
    }

    /// <summary>A silo that holds work is killed: until nothing is leased to it any more and another picture is committed. The head's silo in every other round.</summary>
    private async Task FailOverAsync(SiloTrio silos)
    {
        const int Rounds = 4;
        double longest = 0, longestHead = 0;
        for (int round = 0; round < Rounds; round++)
        {
            await silos.WhenActiveAsync(silos.Silos.Count);
            string job = await silos.SubmitAsync(JobPrompts / 2, 4, steps: 20);
            await silos.UntilAsync(job, status => status.Written > 0, "the first pictures");
            int? head = null;
            await silos.UntilAsync(async () => (head = await silos.Api.TryFindHeadProcessAsync()) is not null, "a head");
            bool hitsHead = round % 2 == 0;
            ChildProcess victim = silos.Silos.First(silo => (silo.Id == head) == hitsHead);
            int process = victim.Id;
            await silos.UntilAsync(() => Task.FromResult(silos.View.CountInFlight(process) > 0), "the silo to hold work");
            var clock = Stopwatch.StartNew();
            victim.Kill();
            long written = (await silos.UntilAsync(job, _ => true, "the job's state")).Written;
            await silos.UntilAsync(() => Task.FromResult(silos.View.CountInFlight(process) == 0), "its work to be taken back");
            await silos.UntilAsync(job, status => status.Written > written || status.IsFinal, "another picture");
            double seconds = clock.Elapsed.TotalSeconds;
            longest = Math.Max(longest, seconds);
            longestHead = hitsHead ? Math.Max(longestHead, seconds) : longestHead;
            Console.Error.WriteLine(string.Create(CultureInfo.InvariantCulture, $"bench: round {round + 1}, {(hitsHead ? "the head's silo" : "another silo")}: {seconds:0.0} s"));
            victim.Restart();
            await silos.UntilAsync(job, status => status.IsFinal, "the job's end");
        }

        report.Add("failOverSeconds", $"a silo killed to its work running elsewhere, the longest of {Rounds}", "s", longest);
        report.Add("headFailOverSeconds", "the same, of the silo that holds the head", "s", longestHead);
    }

    private async Task DrainAsync(SiloTrio silos)
    {
        await silos.WhenActiveAsync(silos.Silos.Count);
        string job = await silos.SubmitAsync(JobPrompts, 4, steps: 20);
        JobStatus before = await silos.UntilAsync(job, status => status.Written > 8, "the first pictures");
        int? head = await silos.Api.TryFindHeadProcessAsync();
        ChildProcess leaving = silos.Silos.First(silo => silo.Id != head);
        int process = leaving.Id;
        await silos.UntilAsync(() => Task.FromResult(silos.View.CountInFlight(process) > 0), "the silo to hold work");
        double reclaimed = await silos.Api.TryReadMetricAsync("metaquery_items_reclaimed_total") ?? 0;
        var clock = Stopwatch.StartNew();
        leaving.Ask();
        await silos.UntilAsync(() => Task.FromResult(silos.View.CountInFlight(process) == 0), "the silo to hold nothing");
        double empty = clock.Elapsed.TotalSeconds;
        int code = await leaving.WaitAsync(CancellationToken.None);
        double left = clock.Elapsed.TotalSeconds;
        leaving.Restart();
        JobStatus ended = await silos.UntilAsync(job, status => status.IsFinal, "the job's end");
        double lost = (await silos.Api.TryReadMetricAsync("metaquery_items_reclaimed_total") ?? 0) - reclaimed;
        if (code != 0 || ended.Failed > 0 || ended.Written != before.Images)
        {
            throw new BenchmarkException($"the drained silo ended with code {code}, the job {ended.State} with {ended.Written} of {before.Images} images");
        }

        report.Add("drainSeconds", "a silo asked to leave, until it holds no work", "s", empty);
        report.Add("drainExitSeconds", "the same, until its process has ended", "s", left);
        report.Add("drainLostItems", "items that had to be taken back from it", "items", lost);
    }

    /// <summary>Two thousand pictures while silos are killed, at random, every sixtieth picture or as soon as two are up again.</summary>
    private async Task KillsAsync(SiloTrio silos)
    {
        await silos.WhenActiveAsync(silos.Silos.Count);
        var random = new Random(7);
        var clock = Stopwatch.StartNew();
        string job = await silos.SubmitAsync(Tasks / 2, 2, steps: 2);
        for (int kill = 1; kill <= Kills; kill++)
        {
            long from = Tasks * kill / (Kills + 2);
            JobStatus now = await silos.UntilAsync(job, status => status.Written >= from || status.IsFinal, $"{from} pictures");
            if (now.IsFinal)
            {
                throw new BenchmarkException($"the job has ended ({now.State}) before kill {kill} of {Kills}");
            }

            await silos.WhenActiveAsync(2);
            Console.Error.WriteLine($"bench: kill {kill} of {Kills}, {now.Written} of {Tasks} pictures");
            silos.Silos[random.Next(silos.Silos.Count)].KillAndRestart();
        }

        JobStatus ended = await silos.UntilAsync(job, status => status.IsFinal, "the job's end");
        (int samples, int distinct) = CountSamples(Path.Combine(silos.Data, "jobs", job, "out"));
        if (ended is not { State: "completed", Failed: 0 } || samples != Tasks || distinct != Tasks)
        {
            throw new BenchmarkException($"after {Kills} kills the job is {ended.State} ({ended.Reason}) with {ended.Written} of {Tasks} images; its shards hold {samples} samples, {distinct} of them distinct");
        }

        report.Add("killsSurvived", $"silos killed during a job of {Tasks} images that ended with every sample once", "kills", Kills);
        report.Add("killsJobSeconds", "that job, from its submission to its end", "s", clock.Elapsed.TotalSeconds);
    }

    private static (int Samples, int Distinct) CountSamples(string folder)
    {
        List<string> keys = [.. Directory.EnumerateFiles(folder, "*.tar").SelectMany(WebDatasetShardReader.Read).Select(sample => sample.Key)];
        return (keys.Count, keys.Distinct(StringComparer.Ordinal).Count());
    }

    private static async Task<double> RateAsync(Func<int, Task> call, TimeSpan time)
    {
        long made = 0;
        var clock = Stopwatch.StartNew();
        await Task.WhenAll(Enumerable.Range(0, Callers).Select(caller => Task.Run(async () =>
        {
            for (int i = caller; clock.Elapsed < time; i += Callers)
            {
                await call(i);
                Interlocked.Increment(ref made);
            }
        })));
        return made / clock.Elapsed.TotalSeconds;
    }
}
