using System.Runtime.CompilerServices;
using MetaQuery.Data;

namespace MetaQuery.Farm;

/// <content>What the farm tells.</content>
public sealed partial class FarmHead
{
    public Task<JobView> GetAsync(JobReference job, CancellationToken cancellationToken) => Task.FromResult(ViewOf(Require(job)));

    public Task<JobPage> ListAsync(JobQuery query, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(query);
        List<JobRecord> found =
        [
            .. _board.List().Reverse()
                .Where(job => (query.Tenant is null || job.Tenant == query.Tenant)
                    && (query.WithRequests || job.Kind != JobKind.Request)
                    && (query.States is null || query.States.Contains(job.State))
                    && (query.After is null || string.CompareOrdinal(job.Id, query.After) < 0))
                .Take(query.Most + 1),
        ];
        string? next = found.Count > query.Most ? found[query.Most - 1].Id : null;
        return Task.FromResult(new JobPage([.. found.Take(query.Most).Select(ViewOf)], next));
    }

    public async IAsyncEnumerable<JobEvent> WatchAsync(JobReference job, string? lastEventId, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        JobRecord record = Require(job);
        if (record.IsFinal && !_events.ContainsKey(record.Id))
        {
            yield return new JobEvent($"{_epoch}-0", "snapshot", ViewOf(record), []);
            yield break;
        }

        EventStream stream = _events.GetOrAdd(record.Id, id => new EventStream(_epoch, () => _board.Find(id) is { } now ? ViewOf(now) : ViewOf(record)));
        if (_board.Find(record.Id) is not { IsFinal: false })
        {
            stream.End(); // it ended between the two looks
        }

        await foreach (JobEvent happened in stream.WatchAsync(lastEventId, cancellationToken).ConfigureAwait(false))
        {
            yield return happened;
        }
    }

    /// <summary>Enumerations of <see cref="WatchAsync"/> that have begun and not ended.</summary>
    public int CountWatchers(string jobId) => _events.TryGetValue(jobId, out EventStream? stream) ? stream.Watchers : 0;

    public Task<SamplePage> ListSamplesAsync(JobReference job, long fromPosition, int most, CancellationToken cancellationToken) =>
        Task.Run(() => ArchiveOf(Require(job)).ListSamples(Math.Max(0, fromPosition), most), cancellationToken);

    public Task<SampleContent> ReadSampleAsync(JobReference job, long position, CancellationToken cancellationToken) => Task.Run(
        () => ArchiveOf(Require(job)).Read(position) ?? throw new JobNotFoundException($"job {job.JobId} has no sample {position} (yet)"), cancellationToken);

    public Task<IReadOnlyList<FailedSample>> ListFailuresAsync(JobReference job, int most, CancellationToken cancellationToken) =>
        Task.Run(() => ArchiveOf(Require(job)).ListFailures(most), cancellationToken);

    public Task<IReadOnlyList<JobFile>> ListFilesAsync(JobReference job, CancellationToken cancellationToken) =>
        Task.Run(() => ArchiveOf(Require(job)).ListFiles(), cancellationToken);

    public Task<Stream> OpenFileAsync(JobReference job, string name, CancellationToken cancellationToken) => Task.Run(
        () => ArchiveOf(Require(job)).Open(name) ?? throw new JobNotFoundException($"job {job.JobId} has no such file (yet)"), cancellationToken);

    public Task<IReadOnlyList<WorkerView>> ListWorkersAsync(CancellationToken cancellationToken) => _workers.ListAsync(cancellationToken).AsTask();

    public Task<bool> DrainWorkerAsync(string worker, CancellationToken cancellationToken) => _workers.DrainAsync(worker, cancellationToken).AsTask();

    public async Task<FarmCounters> CountAsync(CancellationToken cancellationToken)
    {
        IReadOnlyList<JobRecord> jobs = _board.List();
        var lanes = new Dictionary<string, LaneDepth>(StringComparer.Ordinal);
        foreach (string lane in _dispatcher.LaneNames)
        {
            lanes[lane] = await _feed.DepthAsync(lane, cancellationToken).ConfigureAwait(false);
        }

        (long made, long madeAgain) = _dispatcher.Passes;
        (long written, long failed) = _dispatcher.Images;
        (ConditionCacheCounters cache, long refused) = _dispatcher.WorkerCounts;
        return new FarmCounters(
            cache,
            Enum.GetValues<JobState>().ToDictionary(state => state, state => jobs.Count(job => job.State == state)),
            jobs.Sum(UnsettledOf), lanes, written, failed, made, madeAgain, refused, _dispatcher.ReclaimedItems, _dispatcher.FeedLag)
        {
            DamagedRecords = _dispatcher.DamagedRecords,
        };
    }

    public Task<TenantUsage> GetUsageAsync(string tenant, CancellationToken cancellationToken) => Task.FromResult(UsageOf(tenant));

    private JobArchive ArchiveOf(JobRecord record) =>
        new(_folder.OutPath(record.Id), record.Settings, record.Images, _dispatcher.Find(record.Id));

    private TenantUsage UsageOf(string tenant) => new(
        tenant, _board.List().Where(job => job.Tenant == tenant).Sum(UnsettledOf),
        _board.ImagesOn(tenant, DateOnly.FromDateTime(_clock.GetUtcNow().UtcDateTime)));

    private long UnsettledOf(JobRecord record)
    {
        if (record.IsFinal)
        {
            return 0;
        }

        JobCounts counts = CountsOf(record);
        return counts.Images - counts.Written - counts.Failed;
    }

    /// <exception cref="JobNotFoundException">There is none, or it is another tenant's: both say the same.</exception>
    private JobRecord Require(JobReference job) => _board.Find(job.JobId) is { } record && (job.Tenant is null || record.Tenant == job.Tenant)
        ? record
        : throw new JobNotFoundException($"there is no job {job.JobId}");

    private JobCounts CountsOf(JobRecord record) =>
        _dispatcher.Find(record.Id)?.Counts ?? record.Counts ?? new JobCounts(record.Prompts, record.Images, 0, 0, 0, 0, 0);

    private JobView ViewOf(JobRecord record)
    {
        JobSession? session = _dispatcher.Find(record.Id);
        JobCounts counts = session?.Counts ?? record.Counts ?? new JobCounts(record.Prompts, record.Images, 0, 0, 0, 0, 0);
        double rate = session?.ImagesPerSecond ?? 0;
        long left = counts.Images - counts.Written - counts.Failed;
        return new JobView(
            record.Id, record.Name, record.Tenant, record.Kind, record.Priority, record.State, record.Reason, counts, rate,
            record.State == JobState.Running && rate > 0 ? TimeSpan.FromSeconds(Math.Min(left / rate, 3.15e8)) : null,
            record.Settings, record.SkippedLines, record.Lane?.Numerics.ToString(), record.CreatedAt, record.StartedAt, record.FinishedAt, ExpiryOf(record));
    }
}
