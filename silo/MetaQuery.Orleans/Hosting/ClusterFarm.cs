using System.Runtime.CompilerServices;
using MetaQuery.Farm;
using Orleans.Runtime;

namespace MetaQuery.Orleans;

/// <summary>The farm as a silo's web API speaks to it: through the grains, wherever the head is. Waits through a fail-over.</summary>
/// <remarks>What is large goes through the data folder, which every silo with the role head sees: uploads on their way in, files on their way out.</remarks>
public sealed class ClusterFarm : IFarm, IFarmCluster
{
    private static readonly TimeSpan OldWord = TimeSpan.FromSeconds(5);

    private readonly IGrainFactory _grains;
    private readonly IWorkerRegistry _workers;
    private readonly HeadWhereabouts _whereabouts;
    private readonly string _dataFolder;

    /// <param name="grains">The cluster.</param>
    /// <param name="model">That jobs are for.</param>
    /// <param name="readsPictures">Whether its prompts may have pictures.</param>
    /// <param name="workers">The registry that slots join.</param>
    /// <param name="whereabouts">What is heard of the head.</param>
    /// <param name="dataFolder">The head's, as this process sees it.</param>
    public ClusterFarm(IGrainFactory grains, ImageModelInfo model, bool readsPictures, IWorkerRegistry workers, HeadWhereabouts whereabouts, string dataFolder)
    {
        (_grains, Model, ReadsPictures, _workers, _whereabouts) = (grains, model, readsPictures, workers, whereabouts);
        _dataFolder = Path.GetFullPath(dataFolder);
    }

    public ImageModelInfo Model { get; }

    public bool ReadsPictures { get; }

    public FarmReadiness Readiness => _whereabouts.Last switch
    {
        { } word when _whereabouts.Age < OldWord => new FarmReadiness(word is { IsRunning: true, IsReady: true }, word.Reason),
        _ => new FarmReadiness(false, "no silo holds the farm's head just now"),
    };

    private IHeadGrain Head => _grains.GetGrain<IHeadGrain>(0);

    private IAdminGrain Admin => _grains.GetGrain<IAdminGrain>(0);

    public async Task<JobView> SubmitAsync(JobSubmission submission, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(submission);
        var ticket = Guid.NewGuid();
        if (submission.Prompts is not null)
        {
            submission = await Uploads.StoreAsync(submission, _dataFolder, ticket, cancellationToken);
        }

        try
        {
            // a job that was promised by a head that died before it answered must not be made twice
            submission = submission with { IdempotencyKey = submission.IdempotencyKey ?? $"cluster-{ticket:n}" };
            ITenantGrain tenant = _grains.GetGrain<ITenantGrain>(submission.Tenant);
            while (true)
            {
                Uploads.KeepUp(submission, _dataFolder);
                SubmitAnswer answer = await Ask(() => tenant.SubmitAsync(ticket, submission), cancellationToken);
                if (answer.Job is { } job)
                {
                    return job;
                }
            }
        }
        finally
        {
            Uploads.Remove(submission, _dataFolder);
        }
    }

    public Task<JobView> GetAsync(JobReference job, CancellationToken cancellationToken) => Ask(() => Job(job).GetAsync(job.Tenant), cancellationToken);

    public Task<JobPage> ListAsync(JobQuery query, CancellationToken cancellationToken) => Ask(() => Head.ListAsync(query), cancellationToken);

    public async Task<JobView> ApplyAsync(JobReference job, JobCommand command, CancellationToken cancellationToken)
    {
        var call = Guid.NewGuid();
        JobView before = await GetAsync(job, cancellationToken);
        bool isRepeated = false;
        try
        {
            return await Ask(
                async () =>
                {
                    try
                    {
                        return await Job(job).ApplyAsync(call, job.Tenant, command);
                    }
                    catch (Exception exception) when (ClusterCalls.MayPass(exception))
                    {
                        isRepeated = true;
                        throw;
                    }
                },
                cancellationToken);
        }
        catch (JobNotFoundException) when (isRepeated && command == JobCommand.Delete)
        {
            return before; // the head that deleted it died before it answered
        }
        catch (JobStateException) when (isRepeated && command == JobCommand.RetryFailed)
        {
            return await GetAsync(job, cancellationToken); // likewise: it is being tried again
        }
    }

    public async IAsyncEnumerable<JobEvent> WatchAsync(JobReference job, string? lastEventId, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        long lostAt = 0;
        bool isOver = false;
        while (true)
        {
            IAsyncEnumerator<JobEvent> events = Job(job).WatchAsync(job.Tenant, lastEventId, cancellationToken).GetAsyncEnumerator(cancellationToken);
            bool hasNext = true;
            try
            {
                while (hasNext)
                {
                    try
                    {
                        hasNext = await events.MoveNextAsync();
                        lostAt = 0;
                    }
                    catch (Exception exception) when (IsCutOff(exception, cancellationToken)
                        && (lostAt == 0 || TimeProvider.System.GetElapsedTime(lostAt) < ClusterCalls.Patience))
                    {
                        lostAt = lostAt == 0 ? TimeProvider.System.GetTimestamp() : lostAt;
                        break; // the next head tells on, with a snapshot, since it does not know this one's events
                    }
                    catch (Exception exception) when (IsCutOff(exception, cancellationToken) || exception is GrainFaultException)
                    {
                        throw ClusterCalls.ToFarm(exception);
                    }

                    if (hasNext)
                    {
                        lastEventId = events.Current.Id;
                        isOver = JobLifecycle.IsFinal(events.Current.Job.State);
                        yield return events.Current;
                    }
                }
            }
            finally
            {
                await EndAsync(events); // also where the watcher leaves: the head would go on counting it
            }

            if (!hasNext && isOver)
            {
                yield break;
            }

            if (!hasNext)
            {
                lastEventId = null; // the head went to another silo, which knows none of this one's events
            }

            await Task.Delay(TimeSpan.FromMilliseconds(200), cancellationToken);
        }
    }

    public Task<SamplePage> ListSamplesAsync(JobReference job, long fromPosition, int most, CancellationToken cancellationToken) =>
        Ask(() => Job(job).ListSamplesAsync(job.Tenant, fromPosition, most), cancellationToken);

    public Task<SampleContent> ReadSampleAsync(JobReference job, long position, CancellationToken cancellationToken) =>
        Ask(() => Job(job).ReadSampleAsync(job.Tenant, position), cancellationToken);

    public async Task<IReadOnlyList<FailedSample>> ListFailuresAsync(JobReference job, int most, CancellationToken cancellationToken) =>
        await Ask(() => Job(job).ListFailuresAsync(job.Tenant, most), cancellationToken);

    public async Task<IReadOnlyList<JobFile>> ListFilesAsync(JobReference job, CancellationToken cancellationToken) =>
        await Ask(() => Job(job).ListFilesAsync(job.Tenant), cancellationToken);

    public async Task<Stream> OpenFileAsync(JobReference job, string name, CancellationToken cancellationToken)
    {
        IReadOnlyList<JobFile> files = await ListFilesAsync(job, cancellationToken);
        JobFile file = files.FirstOrDefault(known => known.Name == name) ?? throw new JobNotFoundException($"job {job.JobId} has no file {name}");
        string path = Path.Combine(_dataFolder, "jobs", job.JobId, "out", file.Name); // the head knows the id and listed the name
        try
        {
            return new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete, bufferSize: 1 << 16, useAsync: true);
        }
        catch (Exception exception) when (exception is FileNotFoundException or DirectoryNotFoundException)
        {
            throw new JobNotFoundException($"job {job.JobId} has no file {name}");
        }
    }

    public async Task<IReadOnlyList<WorkerView>> ListWorkersAsync(CancellationToken cancellationToken) => await _workers.ListAsync(cancellationToken);

    public async Task<bool> DrainWorkerAsync(string worker, CancellationToken cancellationToken) => await _workers.DrainAsync(worker, cancellationToken);

    public Task<FarmCounters> CountAsync(CancellationToken cancellationToken) => Ask(Head.CountAsync, cancellationToken);

    public Task<TenantUsage> GetUsageAsync(string tenant, CancellationToken cancellationToken) => Ask(_grains.GetGrain<ITenantGrain>(tenant).GetUsageAsync, cancellationToken);

    public async Task<IReadOnlyList<SiloView>> ListSilosAsync(CancellationToken cancellationToken) => await Ask(Admin.ListSilosAsync, cancellationToken);

    public Task<bool> DrainSiloAsync(string silo, CancellationToken cancellationToken) => Ask(() => Admin.DrainAsync(silo), cancellationToken);

    public Task<bool> ScaleSiloAsync(string silo, int slots, CancellationToken cancellationToken) => Ask(() => Admin.ScaleAsync(silo, slots), cancellationToken);

    public Task<TenantRules?> GetTenantRulesAsync(string tenant, CancellationToken cancellationToken) => Ask(_grains.GetGrain<ITenantGrain>(tenant).GetRulesAsync, cancellationToken);

    public Task SetTenantRulesAsync(string tenant, TenantRules? rules, CancellationToken cancellationToken) => Ask(
        async () =>
        {
            await _grains.GetGrain<ITenantGrain>(tenant).SetRulesAsync(rules);
            return true;
        },
        cancellationToken);

    private static Task<T> Ask<T>(Func<Task<T>> call, CancellationToken cancellationToken) => ClusterCalls.RepeatAsync(call, cancellationToken);

    // a grain that leaves its silo cancels what is enumerated there
    private static bool IsCutOff(Exception exception, CancellationToken cancellationToken) =>
        (ClusterCalls.MayPass(exception) || exception is OperationCanceledException) && !cancellationToken.IsCancellationRequested;

    private static async Task EndAsync(IAsyncEnumerator<JobEvent> events)
    {
        try
        {
            await events.DisposeAsync();
        }
        catch (Exception exception) when (ClusterCalls.MayPass(exception))
        {
            // its silo is gone, and the enumeration with it
        }
    }

    private IJobGrain Job(JobReference job) => _grains.GetGrain<IJobGrain>(job.JobId);
}
