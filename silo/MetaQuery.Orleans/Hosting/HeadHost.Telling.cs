using MetaQuery.Farm;
using Microsoft.Extensions.Logging;

namespace MetaQuery.Orleans;

/// <content>What the head tells the jobs' grains: that a job is its own, and when it has ended.</content>
internal sealed partial class HeadHost
{
    private const int MostJobs = 100_000;
    private static readonly TimeSpan TellEvery = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan SweepEvery = TimeSpan.FromMinutes(10);
    private static readonly TimeSpan UntoldFor = TimeSpan.FromMinutes(2); // an end before that had its reminder
    private static readonly JobState[] Unfinished = [.. Enum.GetValues<JobState>().Where(state => !JobLifecycle.IsFinal(state))];
    private static readonly JobState[] Final = [.. Enum.GetValues<JobState>().Where(JobLifecycle.IsFinal)];

    private async Task TellAsync(Running running)
    {
        Dictionary<string, JobState> told = await ToldBeforeAsync(running.Head);
        bool hasRules = false;
        string? complaint = null;
        while (!running.Stop.IsCancellationRequested)
        {
            try
            {
                while (running.Adopted.TryDequeue(out JobView? adopted))
                {
                    told[adopted.Id] = adopted.State;
                }

                JobPage page = await running.Head.ListAsync(new JobQuery(null, MostJobs, States: Unfinished), CancellationToken.None);
                if (!hasRules)
                {
                    await ReadRulesAsync(page, running.Stop);
                    hasRules = true;
                }

                await TellAsync(running, page, told);
                complaint = null;
            }
#pragma warning disable CA1031 // Redis or a silo is away: the journal has all of it, and the next round tells it again
            catch (Exception exception)
#pragma warning restore CA1031
            {
                if (complaint != exception.Message && !running.Stop.IsCancellationRequested)
                {
                    complaint = exception.Message;
                    Untold(_log, exception.Message.ReplaceLineEndings(" "));
                }
            }

            await Task.Delay(TellEvery, running.Stop).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    /// <returns>Jobs whose end the head before, if it died then, told nobody: as if they had been told to run.</returns>
    private static async Task<Dictionary<string, JobState>> ToldBeforeAsync(FarmHead head)
    {
        DateTimeOffset since = TimeProvider.System.GetUtcNow() - UntoldFor;
        JobPage ended = await head.ListAsync(new JobQuery(null, MostJobs, States: Final), CancellationToken.None);
        return ended.Jobs.Where(job => job.FinishedAt >= since).ToDictionary(job => job.Id, _ => JobState.Running, StringComparer.Ordinal);
    }

    private async Task TellAsync(Running running, JobPage page, Dictionary<string, JobState> told)
    {
        var open = new HashSet<string>(StringComparer.Ordinal);
        foreach (JobView job in page.Jobs)
        {
            open.Add(job.Id);
            if (!told.TryGetValue(job.Id, out JobState state) || state != job.State)
            {
                await _grains.GetGrain<IJobGrain>(job.Id).AdoptAsync(TicketOf(job, running.Epoch)).WaitAsync(running.Stop); // who is to let go waits for no grain
                told[job.Id] = job.State;
            }
        }

        foreach (string id in told.Keys.Where(id => !open.Contains(id)).ToList())
        {
            IJobGrain grain = _grains.GetGrain<IJobGrain>(id);
            try
            {
                await grain.AdoptAsync(TicketOf(await running.Head.GetAsync(new JobReference(id, Tenant: null), CancellationToken.None), running.Epoch)).WaitAsync(running.Stop);
            }
            catch (JobNotFoundException)
            {
                await grain.ForgetAsync().WaitAsync(running.Stop);
            }

            told.Remove(id);
        }
    }

    /// <summary>A new head asks the tenants' grains once; from then on they tell it.</summary>
    private async Task ReadRulesAsync(JobPage page, CancellationToken stop)
    {
        foreach (string tenant in page.Jobs.Select(job => job.Tenant).Distinct(StringComparer.Ordinal))
        {
            _tenants.Tell(tenant, await _grains.GetGrain<ITenantGrain>(tenant).GetRulesAsync().WaitAsync(stop));
        }
    }

    /// <summary>Uploads that nobody asks for any more go.</summary>
    private async Task SweepAsync(CancellationToken stop)
    {
        while (!stop.IsCancellationRequested)
        {
            try
            {
                Uploads.Sweep(_settings!.Options.DataFolder, TimeProvider.System.GetUtcNow());
            }
            catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
            {
                Unswept(_log, exception.Message.ReplaceLineEndings(" ")); // jobs do not hang on it
            }

            await Task.Delay(SweepEvery, stop).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    [LoggerMessage(5, LogLevel.Warning, "uploads left behind could not be removed: {Reason}; it is tried again in ten minutes")]
    private static partial void Unswept(ILogger log, string reason);

    [LoggerMessage(3, LogLevel.Warning, "the jobs' grains could not be told: {Reason}; they are told again")]
    private static partial void Untold(ILogger log, string reason);
}
