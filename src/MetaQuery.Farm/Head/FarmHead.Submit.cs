using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using MetaQuery.Data;

namespace MetaQuery.Farm;

/// <content>Taking jobs.</content>
public sealed partial class FarmHead
{
    private const int MaxNameCharacters = 200;
    private const int MaxKeyCharacters = 255;
    private const int PlansKept = 8;

    private readonly Dictionary<string, JobPlan> _plans = new(StringComparer.Ordinal); // of jobs that wait to be opened, the latest few

    public Task<JobView> SubmitAsync(JobSubmission submission, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(submission);
        ThrowIfBroken(); // nobody would work on it
        return Task.Run(() => SubmitCoreAsync(submission, cancellationToken), cancellationToken);
    }

    private async Task<JobView> SubmitCoreAsync(JobSubmission submission, CancellationToken cancellationToken)
    {
        CheckSubmission(submission);
        CheckRoomBeforeReading(submission);
        DateTimeOffset now = _clock.GetUtcNow();
        string id = JobIds.Create(now);
        string folder = _folder.JobPath(id);
        bool isPromised = false;
        using PictureShelf.Intake pictures = _pictures.Begin();
        try
        {
            (JobSpec spec, string format) = await StorePromptsAsync(submission, folder, cancellationToken).ConfigureAwait(false);
            var input = new PictureInput
            {
                Open = await OpenerAsync(submission, pictures, cancellationToken).ConfigureAwait(false),
                Keeper = pictures,
                Refusal = _model.PictureRefusal,
                IndexPath = Path.Combine(folder, PictureIndex.FileName),
            };
            JobPlan plan = JobPlan.Create(spec with { OutFolder = _folder.OutPath(id) }, _model.Conditions, _model.Images, cancellationToken, input);
            var record = new JobRecord
            {
                Id = id,
                Name = submission.Name,
                Tenant = submission.Tenant,
                Kind = submission.Kind,
                Priority = spec.Priority,
                State = JobLifecycle.After(JobLifecycle.Initial, JobSignal.Planned),
                CreatedAt = now,
                Deadline = submission.Deadline,
                TaskTimeout = submission.TaskTimeout,
                IdempotencyKey = submission.IdempotencyKey,
                ContentHash = HashOf(plan, submission),
                PromptsFormat = format,
                SkipInvalid = spec.SkipInvalid,
                Dtype = spec.Dtype,
                Settings = plan.Settings,
                Prompts = plan.PromptCount,
                Images = plan.ImageCount,
                SkippedLines = plan.Source.SkippedLines,
            };
            lock (_turning)
            {
                if (Same(record) is { } earlier)
                {
                    return ViewOf(earlier);
                }

                CheckRoom(record.Tenant, record.Images, now);
                _board.Put(record);
                isPromised = true;
                KeepPlan(id, plan);
            }

            pictures.HandOver(folder);

            Wake();
            return ViewOf(record);
        }
        finally
        {
            if (!isPromised)
            {
                RemoveFolder(folder);
            }
        }
    }

    private static void CheckSubmission(JobSubmission submission)
    {
        if (submission.Name.Length > MaxNameCharacters)
        {
            throw new JobSpecException($"the name has {submission.Name.Length} characters; at most {MaxNameCharacters} are taken");
        }

        if (submission.IdempotencyKey is { Length: 0 or > MaxKeyCharacters } key)
        {
            throw new JobSpecException($"the idempotency key has {key.Length} characters; 1 to {MaxKeyCharacters} are taken");
        }

        if (submission.TaskTimeout is { } timeout && timeout <= TimeSpan.Zero)
        {
            throw new JobSpecException($"the task timeout {timeout.TotalSeconds} s is not above 0");
        }

        if (submission.Spec.Images.Count > 0)
        {
            throw new JobSpecException("pictures of literal prompts are taken in an embedded run only; a farm takes them with a prompt file that names them");
        }

        if (submission.Prompts is not null && submission.PromptsFormat is not ("txt" or "jsonl" or "csv"))
        {
            throw new JobSpecException($"the prompts' format \"{submission.PromptsFormat}\" is not known; txt, jsonl and csv are");
        }
    }

    /// <summary>Puts the prompts into the job's folder: what a job is made of must not change or vanish under it.</summary>
    private static async Task<(JobSpec Spec, string Format)> StorePromptsAsync(JobSubmission submission, string folder, CancellationToken cancellationToken)
    {
        JobSpec spec = submission.Spec;
        try
        {
            Directory.CreateDirectory(folder);
            AtomicFile.SyncFolder(Path.GetDirectoryName(folder)!);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw StorageException.From(exception, folder);
        }

        if (submission.Prompts is { } uploaded)
        {
            if (spec.Prompts is not null || spec.PromptFile is not null)
            {
                throw new JobSpecException("both a prompt file and prompts were given; a job takes one of them");
            }

            string path = Path.Combine(folder, $"prompts.{submission.PromptsFormat}");
            await CopyAsync(uploaded, path, cancellationToken).ConfigureAwait(false);
            return (spec with { PromptFile = path }, submission.PromptsFormat!);
        }

        if (spec.PromptFile is { } named)
        {
            string format = PromptFile.Open(named).Format;
            string path = Path.Combine(folder, $"prompts.{format}");
            FileStream source = File.OpenRead(named);
            await using (source.ConfigureAwait(false))
            {
                await CopyAsync(source, path, cancellationToken).ConfigureAwait(false);
            }

            return (spec with { PromptFile = path }, format);
        }

        if (spec.Prompts is { } literal)
        {
            AtomicFile.WriteAllBytes(Path.Combine(folder, "prompts.json"), JsonSerializer.SerializeToUtf8Bytes(literal));
        }

        return (spec, "literal");
    }

    private static async Task CopyAsync(Stream source, string path, CancellationToken cancellationToken)
    {
        using AtomicFile file = AtomicFile.Create(path);
        try
        {
            await source.CopyToAsync(file.Stream, cancellationToken).ConfigureAwait(false);
        }
        catch (IOException exception) when (StorageException.IsDiskFull(exception)) // ours is full; another error is the sender's
        {
            throw StorageException.From(exception, path);
        }

        file.Commit();
    }

    /// <summary>The job that the same key named before.</summary>
    private JobRecord? Same(JobRecord record)
    {
        if (record.IdempotencyKey is not { } key || _board.FindByKey(record.Tenant, key) is not { } earlier)
        {
            return null;
        }

        return earlier.ContentHash == record.ContentHash
            ? earlier
            : throw new IdempotencyConflictException($"the idempotency key {key} was used for job {earlier.Id}, which asks for something else; take a new key");
    }

    /// <summary>What has no room for one prompt has none for a file of them: that is said before the file is read.</summary>
    private void CheckRoomBeforeReading(JobSubmission submission)
    {
        lock (_turning)
        {
            if (submission.IdempotencyKey is not { } key || _board.FindByKey(submission.Tenant, key) is null) // a job that is there already needs no room
            {
                CheckRoom(submission.Tenant, Math.Max(1, submission.Spec.ImagesPerPrompt) * (long)Math.Max(1, submission.Spec.Prompts?.Count ?? 1), _clock.GetUtcNow());
            }
        }
    }

    private void CheckRoom(string tenant, long images, DateTimeOffset now)
    {
        if (images > _options.MaxQueuedImages)
        {
            throw new JobSpecException($"the job asks for {images} images, and this farm queues at most {_options.MaxQueuedImages}; ask for fewer, in several jobs");
        }

        TenantUsage usage = UsageOf(tenant);
        _options.Tenants.RulesOf(tenant).Check(usage, images, now);
        long queued = 0;
        int unfinished = 0;
        foreach (JobRecord job in _board.List())
        {
            if (!job.IsFinal)
            {
                unfinished++;
                queued += UnsettledOf(job);
            }
        }

        if (unfinished >= _options.MaxUnfinishedJobs)
        {
            throw new QueueFullException($"{unfinished} jobs are unfinished; {_options.MaxUnfinishedJobs} may be at a time", TimeSpan.FromSeconds(30));
        }

        if (queued + images > _options.MaxQueuedImages)
        {
            throw new QueueFullException(
                $"{queued} images are queued and {images} more are asked for; {_options.MaxQueuedImages} may be queued at a time", TimeSpan.FromSeconds(30));
        }
    }

    /// <summary>What was asked, whatever the id, the times and the folder: SHA-256, lower-case hex.</summary>
    /// <remarks>Not the deadline: who repeats a submission says how long from now on. Its place stays empty, since hashes are journalled.</remarks>
    private static string HashOf(JobPlan plan, JobSubmission submission)
    {
        string identity = JobIdentity.Create(plan).Hash;
        byte[] text = Encoding.UTF8.GetBytes(string.Join('\n', identity, submission.Name, submission.Spec.Priority, submission.Kind, null, submission.TaskTimeout?.Ticks));
        return Convert.ToHexStringLower(SHA256.HashData(text));
    }

    private void KeepPlan(string jobId, JobPlan plan)
    {
        lock (_plans)
        {
            while (_plans.Count >= PlansKept)
            {
                _plans.Remove(_plans.Keys.Min(StringComparer.Ordinal)!);
            }

            _plans[jobId] = plan;
        }
    }

    private JobPlan? TakePlan(string jobId)
    {
        lock (_plans)
        {
            return _plans.Remove(jobId, out JobPlan? plan) ? plan : null;
        }
    }
}
