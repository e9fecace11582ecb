using System.Collections.Concurrent;
using System.Runtime.CompilerServices;
using MetaQuery.Data;
using MetaQuery.Farm;
using MetaQuery.Imaging;

namespace MetaQuery.Silo.Tests.Doubles;

/// <summary>A farm without a model, a queue or a disk: its pictures are coloured squares. It keeps to <see cref="IFarm"/>'s word and to the table of states.</summary>
/// <remarks>A prompt that holds "fail" is given up.</remarks>
public class FakeFarm(TimeSpan timePerImage, ITenantDirectory? tenants = null) : IFarm, IDisposable
{
    private readonly Lock _lock = new();
    private readonly Dictionary<string, FakeJob> _jobs = [];
    private readonly Dictionary<(string Tenant, string Key), (string Content, string Job)> _keys = [];
    private readonly ConcurrentDictionary<string, WorkerState> _workers = new(StringComparer.Ordinal) { ["worker-a"] = WorkerState.Running, ["worker-b"] = WorkerState.Running };
    private readonly CancellationTokenSource _stop = new();
    private readonly DateTimeOffset _startedAt = DateTimeOffset.UtcNow;
    private long _count;

    public bool ReadsPictures { get; init; }

    public ImageModelInfo Model { get; init; } = new("toy-1", "toy", new ImageSize(32, 32), 8, 8, 64, 4, 4.5f, 4, new NumericsFingerprint("float32", "toy", 1, "none 0", "toy"));

    public FarmReadiness Readiness { get; set; } = new(true, null);

    /// <summary>Thrown by every submission while it is set.</summary>
    public Exception? Refusal { get; set; }

    /// <summary>A job that is to be cancelled ends by itself in that moment.</summary>
    public bool EndsBeforeCancel { get; init; }

    public async Task<JobView> SubmitAsync(JobSubmission submission, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(submission);
        if (Refusal is { } refusal)
        {
            throw refusal;
        }

        (IReadOnlyList<PromptLine> prompts, IReadOnlyList<string> skipped, string content) = await ReadPromptsAsync(submission, cancellationToken);
        long images = (long)prompts.Count * submission.Spec.ImagesPerPrompt;
        lock (_lock)
        {
            content += $"\n{submission.Spec with { Prompts = null }}";
            if (submission.IdempotencyKey is { } key && _keys.TryGetValue((submission.Tenant, key), out var before))
            {
                return before.Content == content ? _jobs[before.Job].View() : throw new IdempotencyConflictException($"Idempotency-Key {key} was used for another job before");
            }

            (tenants ?? new OpenTenants()).RulesOf(submission.Tenant).Check(Usage(submission.Tenant), images, DateTimeOffset.UtcNow);
            var job = new FakeJob($"job_{++_count:00000}", submission, prompts, skipped, Model);
            _jobs.Add(job.Id, job);
            if (submission.IdempotencyKey is { } fresh)
            {
                _keys.Add((submission.Tenant, fresh), (content, job.Id));
            }

            _ = job.RunAsync(timePerImage, _stop.Token);
            return job.View();
        }
    }

    public Task<JobView> GetAsync(JobReference job, CancellationToken cancellationToken) => Task.FromResult(Find(job).View());

    public Task<JobPage> ListAsync(JobQuery query, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(query);
        lock (_lock)
        {
            JobView[] all =
            [
                .. _jobs.Values.Select(job => job.View()).Where(job =>
                    (query.Tenant is null || job.Tenant == query.Tenant) && (query.WithRequests || job.Kind == JobKind.DataSet)
                    && (query.States?.Contains(job.State) ?? true) && (query.After is null || string.CompareOrdinal(job.Id, query.After) < 0))
                    .OrderByDescending(job => job.Id, StringComparer.Ordinal).Take(query.Most + 1),
            ];
            return Task.FromResult(new JobPage([.. all.Take(query.Most)], all.Length > query.Most ? all[query.Most - 1].Id : null));
        }
    }

    public async Task<JobView> ApplyAsync(JobReference job, JobCommand command, CancellationToken cancellationToken)
    {
        FakeJob found = Find(job);
        if (EndsBeforeCancel && command == JobCommand.Cancel)
        {
            await found.RunAsync(TimeSpan.Zero, _stop.Token);
        }

        JobView after = found.Apply(command, timePerImage, _stop.Token);
        if (command == JobCommand.Delete)
        {
            lock (_lock)
            {
                _jobs.Remove(found.Id);
            }
        }

        return after;
    }

    public async IAsyncEnumerable<JobEvent> WatchAsync(JobReference job, string? lastEventId, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        FakeJob found = Find(job);
        long sequence = found.Knows(lastEventId) is { } known ? known : -1;
        while (true)
        {
            (IReadOnlyList<JobEvent> events, Task changed, long last, bool hasEnded) = found.After(sequence);
            foreach (JobEvent happened in events)
            {
                yield return happened;
            }

            sequence = last;
            if (hasEnded)
            {
                yield break;
            }

            await changed.WaitAsync(cancellationToken);
        }
    }

    public Task<SamplePage> ListSamplesAsync(JobReference job, long fromPosition, int most, CancellationToken cancellationToken)
    {
        SampleView[] samples = [.. Find(job).Samples().Where(sample => sample.Sample.Position >= fromPosition).Take(most + 1).Select(sample => sample.Sample)];
        return Task.FromResult(new SamplePage([.. samples.Take(most)], samples.Length > most ? samples[most].Position : null));
    }

    public Task<SampleContent> ReadSampleAsync(JobReference job, long position, CancellationToken cancellationToken) => Task.FromResult(
        Find(job).Samples().FirstOrDefault(sample => sample.Sample.Position == position) ?? throw new JobNotFoundException($"job {job.JobId} has no sample at position {position} (yet)"));

    public Task<IReadOnlyList<FailedSample>> ListFailuresAsync(JobReference job, int most, CancellationToken cancellationToken) =>
        Task.FromResult<IReadOnlyList<FailedSample>>([.. Find(job).Failures().Take(most)]);

    public Task<IReadOnlyList<JobFile>> ListFilesAsync(JobReference job, CancellationToken cancellationToken) =>
        Task.FromResult<IReadOnlyList<JobFile>>([.. Find(job).Files().Select(file => file.File)]);

    public Task<Stream> OpenFileAsync(JobReference job, string name, CancellationToken cancellationToken) =>
        Find(job).Files().FirstOrDefault(file => file.File.Name == name) is { Bytes: { } bytes }
            ? Task.FromResult<Stream>(new MemoryStream(bytes, writable: false))
            : throw new JobNotFoundException($"job {job.JobId} has no file {name}");

    public Task<IReadOnlyList<WorkerView>> ListWorkersAsync(CancellationToken cancellationToken)
    {
        var conditions = new ConditionIdentity("toy-1", "toy", "{{ toy }}", "", 16, "bfloat16", "toy", 48);
        string[] running = [.. Snapshot().Where(job => job.View().State == JobState.Running).Select(job => job.Id)];
        return Task.FromResult<IReadOnlyList<WorkerView>>(
        [
            .. _workers.OrderBy(worker => worker.Key, StringComparer.Ordinal).Select(worker => new WorkerView(
                new WorkerInfo(worker.Key, "toyhost", 4711, WorkRoles.Both, 2, "cpu", "1f0c5d2ab3e49876", conditions, Model, _startedAt),
                new WorkerStatus(
                    worker.Value,
                    [new SlotStatus(running.Length > 0 ? "denoise" : "idle", running.Length > 0 ? 4 : 0, running, _startedAt), new SlotStatus("idle", 0, [], _startedAt)],
                    running.Length > 0 ? 12.5 : 0, 3.25, 1234, 321, running.Length > 0 ? 0.5 : 0, new ConditionCacheCounters(30, 5, 7, 2, 1, 0, 4096, 8192)),
                TimeSpan.FromSeconds(0.4))),
        ]);
    }

    public Task<bool> DrainWorkerAsync(string worker, CancellationToken cancellationToken) => Task.FromResult(_workers.TryUpdate(worker, WorkerState.Draining, WorkerState.Running) || _workers.ContainsKey(worker));

    public Task<FarmCounters> CountAsync(CancellationToken cancellationToken)
    {
        JobView[] jobs = [.. Snapshot().Select(job => job.View())];
        return Task.FromResult(new FarmCounters(
            new ConditionCacheCounters(60, 10, 14, 4, 2, 0, 8192, 16_384), jobs.GroupBy(job => job.State).ToDictionary(group => group.Key, group => group.Count()),
            jobs.Sum(Open), new Dictionary<string, LaneDepth> { ["1f0c5d2ab3e49876"] = new(1, 2, 3, 0) }, jobs.Sum(job => job.Counts.Written), jobs.Sum(job => job.Counts.Failed),
            14, 1, 0, 0, TimeSpan.FromSeconds(0.25)));
    }

    public Task<TenantUsage> GetUsageAsync(string tenant, CancellationToken cancellationToken)
    {
        lock (_lock)
        {
            return Task.FromResult(Usage(tenant));
        }
    }

    public void Dispose()
    {
        _stop.Cancel();
        _stop.Dispose();
    }

    private static long Open(JobView job) => JobLifecycle.IsFinal(job.State) ? 0 : job.Counts.Images - job.Counts.Written - job.Counts.Failed;

    private TenantUsage Usage(string tenant)
    {
        JobView[] jobs = [.. _jobs.Values.Select(job => job.View()).Where(job => job.Tenant == tenant)];
        return new TenantUsage(tenant, jobs.Sum(Open), jobs.Sum(job => job.Counts.Images));
    }

    private FakeJob[] Snapshot()
    {
        lock (_lock)
        {
            return [.. _jobs.Values];
        }
    }

    private FakeJob Find(JobReference job)
    {
        lock (_lock)
        {
            return _jobs.TryGetValue(job.JobId, out FakeJob? found) && (job.Tenant is null || found.View().Tenant == job.Tenant)
                ? found
                : throw new JobNotFoundException("there is no such job");
        }
    }

    private static async Task<(IReadOnlyList<PromptLine> Prompts, IReadOnlyList<string> Skipped, string Content)> ReadPromptsAsync(JobSubmission submission, CancellationToken cancellationToken)
    {
        if (submission.Spec.Prompts is { } literal)
        {
            return ([.. literal.Select((prompt, index) => new PromptLine { Line = index + 1, Index = index, Prompt = prompt })], [], string.Join('\n', literal));
        }

        string folder = Directory.CreateTempSubdirectory("metaquery-fake-").FullName;
        try
        {
            string path = Path.Combine(folder, "prompts." + submission.PromptsFormat);
            await using (FileStream file = File.Create(path))
            {
                await submission.Prompts!.CopyToAsync(file, cancellationToken);
            }

            var uploaded = new Dictionary<string, LinePicture>(StringComparer.Ordinal);
            if (submission.Pictures is { } pictures)
            {
                await foreach (UploadedPicture picture in pictures.WithCancellation(cancellationToken))
                {
                    Assert.InRange(picture.File.Length, 0, UploadedPicture.MostBytes);
                    uploaded[picture.Name] = new LinePicture(Convert.ToHexStringLower(System.Security.Cryptography.SHA256.HashData(picture.File.Span)), 1, 1);
                }
            }

            PromptFile prompts = PromptFile.Open(path);
            PromptFileSummary summary = prompts.Validate(submission.Spec.SkipInvalid, cancellationToken: cancellationToken);
            return ([.. prompts.Read(summary).Select(line => line.Images.Count == 0 ? line : new PromptLine
            {
                Line = line.Line, Index = line.Index, Prompt = line.Prompt, Pictures = [.. line.Images.Where(uploaded.ContainsKey).Select(name => uploaded[name])],
            })], [.. summary.Errors.Select(error => error.ToString())], summary.Sha256);
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }
}
