namespace MetaQuery.Farm;

/// <summary>The farm as its users see it: the web API, the page and the command line speak to this.</summary>
/// <remarks>Thread-safe. Every method may throw <see cref="FarmException"/>: one line for the user.</remarks>
public interface IFarm
{
    /// <summary>The model that jobs are for.</summary>
    ImageModelInfo Model { get; }

    /// <summary>Whether its prompts may have pictures.</summary>
    bool ReadsPictures { get; }

    /// <summary>Whether jobs can be taken and are being worked on; otherwise why not.</summary>
    FarmReadiness Readiness { get; }

    /// <summary>Checks a job, writes it down durably and queues it.</summary>
    /// <returns>The job; the one submitted before where the tenant used the same idempotency key for the same content.</returns>
    /// <exception cref="JobSpecException">A value or a line of the prompt file is wrong.</exception>
    /// <exception cref="IdempotencyConflictException">The key was used for another content.</exception>
    /// <exception cref="QueueFullException">Back-pressure, or the tenant's quota; says when to come again.</exception>
    Task<JobView> SubmitAsync(JobSubmission submission, CancellationToken cancellationToken);

    /// <exception cref="JobNotFoundException">There is none, or it is another tenant's.</exception>
    Task<JobView> GetAsync(JobReference job, CancellationToken cancellationToken);

    /// <summary>Newest first.</summary>
    Task<JobPage> ListAsync(JobQuery query, CancellationToken cancellationToken);

    /// <summary>Pause, resume, cancel, retry-failed or delete.</summary>
    /// <returns>The job as it stands after; a deleted one as it stood before.</returns>
    /// <exception cref="JobNotFoundException">There is none, or it is another tenant's.</exception>
    /// <exception cref="JobStateException">The table of states does not allow it.</exception>
    Task<JobView> ApplyAsync(JobReference job, JobCommand command, CancellationToken cancellationToken);

    /// <summary>What happens to a job, from after the named event on; begins with a snapshot where that event is no longer known. Ends with the job.</summary>
    IAsyncEnumerable<JobEvent> WatchAsync(JobReference job, string? lastEventId, CancellationToken cancellationToken);

    /// <summary>Finished samples by position, also those not yet in a shard.</summary>
    Task<SamplePage> ListSamplesAsync(JobReference job, long fromPosition, int most, CancellationToken cancellationToken);

    /// <exception cref="JobNotFoundException">There is no such sample (yet).</exception>
    Task<SampleContent> ReadSampleAsync(JobReference job, long position, CancellationToken cancellationToken);

    /// <summary>Samples given up, by position.</summary>
    Task<IReadOnlyList<FailedSample>> ListFailuresAsync(JobReference job, int most, CancellationToken cancellationToken);

    /// <summary>What can be downloaded: finished shards and, at the end, manifest and contact sheet.</summary>
    Task<IReadOnlyList<JobFile>> ListFilesAsync(JobReference job, CancellationToken cancellationToken);

    /// <summary>Opens one of <see cref="ListFilesAsync"/>'s, seekable. The name is looked up in that list, never put into a path.</summary>
    /// <exception cref="JobNotFoundException">The job has no such file.</exception>
    Task<Stream> OpenFileAsync(JobReference job, string name, CancellationToken cancellationToken);

    Task<IReadOnlyList<WorkerView>> ListWorkersAsync(CancellationToken cancellationToken);

    /// <returns>False where there is no such worker.</returns>
    Task<bool> DrainWorkerAsync(string worker, CancellationToken cancellationToken);

    /// <summary>What the farm counts, for <c>/metrics</c>, <c>/v1/cache</c> and the page.</summary>
    Task<FarmCounters> CountAsync(CancellationToken cancellationToken);

    /// <summary>What a tenant has queued and made.</summary>
    Task<TenantUsage> GetUsageAsync(string tenant, CancellationToken cancellationToken);
}

/// <summary>A job as somebody names it.</summary>
/// <param name="JobId">Such as <c>job_01jd…</c>.</param>
/// <param name="Tenant">Whose jobs the asker may see; null for an admin: all.</param>
public readonly record struct JobReference(string JobId, string? Tenant);

/// <summary>What may be asked of a job.</summary>
public enum JobCommand { Pause, Resume, Cancel, RetryFailed, Delete }

/// <summary>What jobs are kept for.</summary>
public enum JobKind : byte
{
    /// <summary>A data set: kept until it is deleted or the retention rule takes it.</summary>
    DataSet = 1,

    /// <summary>An answer to one web request: kept for an hour, left out of lists.</summary>
    Request = 2,
}

/// <summary>A job to take.</summary>
public sealed record JobSubmission
{
    /// <summary>What to make. <see cref="JobSpec.OutFolder"/> is the farm's own to choose and is ignored.</summary>
    public required JobSpec Spec { get; init; }

    /// <summary>The prompt file's content, where prompts are not literal ones; read to its end and kept with the job.</summary>
    public Stream? Prompts { get; init; }

    /// <summary><c>txt</c>, <c>jsonl</c> or <c>csv</c>, with <see cref="Prompts"/>.</summary>
    public string? PromptsFormat { get; init; }

    /// <summary>The pictures that lines of <see cref="Prompts"/> name, each once; read to their end after the prompts. Lines may hold data: URIs besides.</summary>
    public IAsyncEnumerable<UploadedPicture>? Pictures { get; init; }

    public required string Tenant { get; init; }

    /// <summary>For people; at most 200 characters.</summary>
    public string Name { get; init; } = "";

    public string? IdempotencyKey { get; init; }

    public JobKind Kind { get; init; } = JobKind.DataSet;

    /// <summary>The job is cancelled when this has passed.</summary>
    public DateTimeOffset? Deadline { get; init; }

    /// <summary>Longest time of one batch, of prompts as of images; null for the worker's limit.</summary>
    public TimeSpan? TaskTimeout { get; init; }
}

/// <summary>A picture that comes with a job.</summary>
/// <param name="Name">As the prompts' lines name it: a key to look it up by, never a path.</param>
/// <param name="File">Its bytes; of a picture that is larger than <see cref="PictureLimits.MaxBytes"/> the first <see cref="MostBytes"/>, which fail its lines.</param>
public sealed record UploadedPicture(string Name, ReadOnlyMemory<byte> File)
{
    /// <summary>Bytes that are handed on: one more than a picture may have tells that it has too many.</summary>
    public const int MostBytes = PictureLimits.MaxBytes + 1;
}

/// <summary>A job as it stands.</summary>
/// <param name="Reason">Why it failed, waits or was cancelled; null where there is nothing to say.</param>
/// <param name="Settings">With all defaults filled in.</param>
/// <param name="SkippedLines">The first bad lines passed over.</param>
/// <param name="FinishedAt">When it reached a final state.</param>
/// <param name="ExpiresAt">When the retention rule will delete it; null for never.</param>
public sealed record JobView(
    string Id, string Name, string Tenant, JobKind Kind, JobPriority Priority, JobState State, string? Reason, JobCounts Counts, double ImagesPerSecond,
    TimeSpan? TimeLeft, ResolvedSettings Settings, IReadOnlyList<string> SkippedLines, string? NumericsFingerprint, DateTimeOffset CreatedAt,
    DateTimeOffset? StartedAt, DateTimeOffset? FinishedAt, DateTimeOffset? ExpiresAt);

/// <summary>What a job has, honestly: each image counts as planned, then encoded, denoised, written; or failed. None is counted before it is so: a loss of power takes nothing back.</summary>
/// <param name="Prompts">In the job.</param>
/// <param name="Images">In the job.</param>
/// <param name="Planned">Images whose prompt was read and turned into work.</param>
/// <param name="Encoded">Images whose conditions were ready.</param>
/// <param name="Denoised">Images made and reported to the head: those written and those about to be, which a full disk holds up.</param>
/// <param name="Written">Images whose bytes are synced to disk, in a spool or a shard.</param>
/// <param name="Failed">Images given up, written down likewise.</param>
public sealed record JobCounts(long Prompts, long Images, long Planned, long Encoded, long Denoised, long Written, long Failed);

/// <param name="Tenant">Null for all.</param>
/// <param name="After">The last id of the page before; null for the first page.</param>
public sealed record JobQuery(string? Tenant, int Most = 50, string? After = null, bool WithRequests = false, IReadOnlyList<JobState>? States = null);

public sealed record JobPage(IReadOnlyList<JobView> Jobs, string? Next);

/// <summary>Something that happened to a job.</summary>
/// <param name="Id">Opaque, for <c>Last-Event-ID</c>.</param>
/// <param name="Type"><c>snapshot</c>, <c>state</c>, <c>progress</c> or <c>samples</c>. Progress is coalesced to at most ten a second.</param>
/// <param name="Job">The job after it.</param>
/// <param name="Samples">New samples' positions, the latest ones where there are many.</param>
public sealed record JobEvent(string Id, string Type, JobView Job, IReadOnlyList<long> Samples);

public sealed record SamplePage(IReadOnlyList<SampleView> Samples, long? NextPosition);

/// <param name="Position">Place in the job, from 0.</param>
/// <param name="MetadataJson">The sample's JSON: prompt, seed, steps, guidance, model, sha256.</param>
public sealed record SampleView(long Position, string Key, string Prompt, int SampleIndex, string MetadataJson);

/// <param name="Image">The picture's file.</param>
/// <param name="MediaType">Such as <c>image/png</c>.</param>
public sealed record SampleContent(SampleView Sample, ReadOnlyMemory<byte> Image, string MediaType);

/// <param name="Name">Such as <c>00000.tar</c>.</param>
/// <param name="Sha256">Of a shard, from the manifest; null for the other files.</param>
public sealed record JobFile(string Name, long Bytes, string MediaType, string? Sha256);

/// <param name="Reason">One line where <paramref name="IsReady"/> is false: no worker of the model's revision is there, the disk is full, the queue cannot be reached.</param>
public sealed record FarmReadiness(bool IsReady, string? Reason);

/// <param name="QueuedImages">Images of the tenant's jobs that are not settled.</param>
/// <param name="ImagesToday">Images asked for since midnight UTC.</param>
public sealed record TenantUsage(string Tenant, long QueuedImages, long ImagesToday);

/// <summary>What the farm counts since it started; gauges where the name says so.</summary>
/// <param name="Cache">Counts of all workers, also those that are gone; bytes are gauges, of workers that are there.</param>
/// <param name="JobsByState">Gauge.</param>
/// <param name="QueuedImages">Gauge: not yet settled.</param>
/// <param name="Lanes">Gauge: per lane what lies in the queue.</param>
/// <param name="Passes">Conditions made.</param>
/// <param name="PassesAgain">Of these: made before by this farm, and lost by eviction, corruption or death.</param>
/// <param name="RefusedReports">Late workers' reports that the fence refused, also of workers that are gone.</param>
/// <param name="ReclaimedItems">Items taken back from dead workers.</param>
/// <param name="FeedLag">Gauge: age of the oldest waiting item, what an autoscaler goes by.</param>
public sealed record FarmCounters(
    ConditionCacheCounters Cache, IReadOnlyDictionary<JobState, int> JobsByState, long QueuedImages, IReadOnlyDictionary<string, LaneDepth> Lanes,
    long ImagesWritten, long ImagesFailed, long Passes, long PassesAgain, long RefusedReports, long ReclaimedItems, TimeSpan FeedLag)
{
    /// <summary>Samples whose record was damaged on disk before its shard was written: made again, and then counted as written a second time.</summary>
    public long DamagedRecords { get; init; }
}
