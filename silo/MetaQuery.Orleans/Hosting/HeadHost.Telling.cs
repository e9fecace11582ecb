using MetaQuery.Farm;
using Microsoft.Extensions.Logging;

namespace MetaQuery.Orleans;

/// <content>What the head tells the jobs' grains: that a job is its own, and when it has ended.</content>
internal sealed partial class HeadHost
{
    private const int MostJobs = 100_000;
    private const int MostFailures = 10; // of a round: then it is not one grain that is away, but what all stand on
    private static readonly TimeSpan TellEvery = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan SweepEvery = TimeSpan.FromMinutes(10);
    private static readonly TimeSpan UntoldFor = TimeSpan.FromMinutes(2); // an end before that had its reminder
    private static readonly JobState[] Unfinished = [.. Enum.GetValues<JobState>().Where(state => !JobLifecycle.IsFinal(state))];
    private static readonly JobState[] Final = [.. Enum.GetValues<JobState>().Where(JobLifecycle.IsFinal)];

    private async Task TellAsync(Running running)
    {
        Dictionary<string, JobState?>? told = null;
        bool hasRules = false;
        string? complaint = null;
        while (!running.Stop.IsCancellationRequested)
        {
            var failures = new List<Exception>();
            await TryAsync(
                async () =>
                {
                    told ??= await UntoldEndsAsync(running.Head);
                    while (running.Submitted.TryDequeue(out (string Id, JobState? Told) submitted))
                    {
                        told[submitted.Id] = submitted.Told;
                    }

                    JobPage page = await running.Head.ListAsync(new JobQuery(null, MostJobs, States: Unfinished), CancellationToken.None);
                    hasRules = hasRules || await TryAsync(() => ReadRulesAsync(page, running.Stop), failures);
                    await TellAsync(running, page, told, failures);
                },
                failures);
            string? line = failures.Count > 0 ? failures[0].Message.ReplaceLineEndings(" ") : null;
            if (line is not null && line != complaint && !running.Stop.IsCancellationRequested)
            {
                Untold(_log, line);
            }

            complaint = line;
            await Task.Delay(TellEvery, running.Stop).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    private async Task TellOfSubmissionAsync(Running running, JobView job)
    {
        var failures = new List<Exception>();
        bool isTold = await TryAsync(() => _grains.GetGrain<IJobGrain>(job.Id).AdoptAsync(TicketOf(job, running.Epoch)), failures);
        if (!isTold)
        {
            Untold(_log, failures[0].Message.ReplaceLineEndings(" ")); // the job is in the journal, and so promised: its grain is told with the next round
        }

        running.Submitted.Enqueue((job.Id, isTold ? job.State : null)); // after the call, for the job may have ended in the meantime
    }

    /// <returns>Jobs whose end the head before, if it died then, told nobody.</returns>
    private static async Task<Dictionary<string, JobState?>> UntoldEndsAsync(FarmHead head)
    {
        DateTimeOffset since = TimeProvider.System.GetUtcNow() - UntoldFor;
        JobPage ended = await head.ListAsync(new JobQuery(null, MostJobs, States: Final), CancellationToken.None);
        return ended.Jobs.Where(job => job.FinishedAt >= since).ToDictionary(job => job.Id, _ => (JobState?)null, StringComparer.Ordinal);
    }

    /// <summary>Tells each job's grain what it has not been told; one that cannot be told holds up no other.</summary>
    private async Task TellAsync(Running running, JobPage page, Dictionary<string, JobState?> told, List<Exception> failures)
    {
        var open = new HashSet<string>(StringComparer.Ordinal);
        foreach (JobView job in page.Jobs)
        {
            open.Add(job.Id);
            if ((!told.TryGetValue(job.Id, out JobState? state) || state != job.State) && failures.Count < MostFailures
                && await TryAsync(() => _grains.GetGrain<IJobGrain>(job.Id).AdoptAsync(TicketOf(job, running.Epoch)).WaitAsync(running.Stop), failures)) // who is to let go waits for no grain
            {
                told[job.Id] = job.State;
            }
        }

        foreach (string id in told.Keys.Where(id => !open.Contains(id)).ToList())
        {
            if (failures.Count < MostFailures && await TryAsync(() => TellEndAsync(running, id).WaitAsync(running.Stop), failures))
            {
                told.Remove(id);
            }
        }
    }

    private async Task TellEndAsync(Running running, string id)
    {
        IJobGrain grain = _grains.GetGrain<IJobGrain>(id);
        JobView ended;
        try
        {
            ended = await running.Head.GetAsync(new JobReference(id, Tenant: null), CancellationToken.None);
        }
        catch (JobNotFoundException)
        {
            await grain.ForgetAsync();
            return;
        }

        await grain.AdoptAsync(TicketOf(ended, running.Epoch));
    }

    private static async Task<bool> TryAsync(Func<Task> tell, List<Exception> failures)
    {
        try
        {
            await tell();
            return true;
        }
#pragma warning disable CA1031 // Redis or a silo is away: the journal has all of it, and the next round tells it again
        catch (Exception exception)
#pragma warning restore CA1031
        {
            failures.Add(exception);
            return false;
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
