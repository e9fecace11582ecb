namespace MetaQuery.Farm.Tests.Doubles;

/// <summary>Heads in processes of their own.</summary>
internal static class HeadChild
{
    /// <summary>Goes on with the folder's job, or begins it; writes a line per change, and at last its state.</summary>
    public static async Task RunAsync(string dataFolder, string promptFile)
    {
        await using ToyFarm farm = await ToyFarm.StartAsync(dataFolder);
        JobPage jobs = await farm.Head.ListAsync(new JobQuery(null), CancellationToken.None);
        JobView job = jobs.Jobs.Count > 0
            ? jobs.Jobs[0]
            : await farm.Head.SubmitAsync(
                new JobSubmission { Spec = new JobSpec { PromptFile = promptFile, OutFolder = "", ImagesPerPrompt = 3, SamplesPerShard = 7 }, Tenant = "toys" }, CancellationToken.None);
        Console.WriteLine($"running {job.Counts.Written}");
        await using ToyWorker worker = farm.Hire();
        worker.Outcome = item =>
        {
            Thread.Sleep(item is DenoiseItem ? 2 : 0); // long enough for a kill to come in between
            return null;
        };
        while (!JobLifecycle.IsFinal(job.State))
        {
            long before = job.Counts.Written;
            job = await farm.UntilAsync(job.Id, now => now.Counts.Written != before || JobLifecycle.IsFinal(now.State));
            Console.WriteLine($"running {job.Counts.Written}");
        }

        Console.WriteLine($"{JobLifecycle.NameOf(job.State)} {job.Reason}");
    }

    /// <summary>Writes the processor's milliseconds for taking a large job, those from there to its first lease, and the most memory it took in KiB.</summary>
    public static async Task TakeAsync(string dataFolder, string promptFile)
    {
        await using ToyFarm farm = await ToyFarm.StartAsync(dataFolder);
        await using ToyWorker worker = farm.Hire();
        TimeSpan start = Environment.CpuUsage.TotalTime;
        var spec = new JobSpec { PromptFile = promptFile, OutFolder = "" };
        JobView job = await farm.Head.SubmitAsync(new JobSubmission { Spec = spec, Tenant = "toys" }, CancellationToken.None);
        TimeSpan taken = Environment.CpuUsage.TotalTime - start;
        start = Environment.CpuUsage.TotalTime;
        while (worker.Seen.IsEmpty)
        {
            await Task.Delay(1);
        }

        TimeSpan leased = Environment.CpuUsage.TotalTime - start;
        await farm.UntilAsync(job.Id, now => now.Counts.Written > 2000);
        string peak = File.ReadLines("/proc/self/status").First(line => line.StartsWith("VmHWM:", StringComparison.Ordinal));
        Console.WriteLine($"{(long)taken.TotalMilliseconds} {(long)leased.TotalMilliseconds} {peak.Split(' ', StringSplitOptions.RemoveEmptyEntries)[1]}");
    }
}
