using System.Diagnostics.CodeAnalysis;
using MetaQuery.Data;

namespace MetaQuery.Farm;

/// <summary>How a job is opened.</summary>
internal sealed record SessionOptions
{
    public required string JobId { get; init; }
    public string Tenant { get; init; } = "";
    public JobPriority Priority { get; init; }

    /// <summary>Longest time of one batch; null for the worker's limit.</summary>
    public TimeSpan? TaskTimeout { get; init; }

    /// <summary>Keep every condition on disk, not only those that the job needs again.</summary>
    public bool KeepAllConditions { get; init; }
    public bool AllowOtherNumerics { get; init; }

    /// <summary>Forget failures of earlier runs.</summary>
    public bool RetryFailed { get; init; }
    public int ContactSheetImages { get; init; } = 48;

    /// <summary>Items given up, without a single success, after which the job is hopeless.</summary>
    public int HopelessAfter { get; init; } = 50;
    public TimeProvider Clock { get; init; } = TimeProvider.System;
}

/// <summary>A job that is being worked on, as the head has it: plan, folder, store, coordinator, counts. Thread-safe.</summary>
internal sealed class JobSession : IWorkSource<DenoiseItem>, IDisposable
{
    private const int MostNews = 256;
    private const string SheetName = "contact-sheet.png";

    private readonly Lock _gate = new();
    private readonly SessionOptions _options;
    private readonly OutFolder _folder;
    private readonly ContactSheetPicks _picks;
    private readonly ShardedSampleStore _store;
    private readonly JobCoordinator _coordinator;
    private readonly RateMeter _rate;
    private readonly long _writtenBefore;
    private readonly long _failedBefore;
    private readonly List<long> _news = [];
    private readonly Queue<AbandonedImage> _abandoned = new();
    private readonly FailureBreaker _breaker;
    private int _isFinishing;
    private bool _isSettledTold;
    private long _denoised;
    private bool _isDirty = true;

    private JobSession(JobPlan plan, SessionOptions options, OutFolder folder, ContactSheetPicks picks, ShardedSampleStore store)
    {
        Plan = plan;
        Lane = WorkLane.Of(plan.Conditions, plan.Images);
        _options = options;
        _folder = folder;
        _picks = picks;
        _store = store;
        _writtenBefore = store.WrittenCount;
        _failedBefore = store.FailedCount;
        _rate = new RateMeter(options.Clock);
        WasComplete = store.IsComplete;
        _breaker = new FailureBreaker(options.HopelessAfter);
        if (_writtenBefore > 0)
        {
            _breaker.Succeeded();
        }

        _coordinator = new JobCoordinator(
            PromptStream.Read(plan, store).GetEnumerator(),
            new JobItems(options.JobId, plan, options.Priority, options.TaskTimeout, options.KeepAllConditions), store.IsSettled);
    }

    public string JobId => _options.JobId;

    public string Tenant => _options.Tenant;

    public JobPriority Priority => _options.Priority;

    public JobPlan Plan { get; }

    public string Lane { get; }

    /// <summary>Nothing was left to do when it was opened.</summary>
    public bool WasComplete { get; }

    /// <summary>Every image is committed or given up, every shard written.</summary>
    public bool IsComplete => _store.IsComplete;

    /// <summary>Why nothing of this job will succeed; null while it may.</summary>
    public string? Hopeless { get; private set; }

    /// <summary>Images settled before it was opened.</summary>
    public long Resumed => _writtenBefore + _failedBefore;

    /// <summary>The numerics that the folder's images were made with.</summary>
    public IReadOnlyList<string> Numerics => _folder.Numerics;

    /// <summary>Opens a job's folder and recovers what is in it. May take seconds for a large job.</summary>
    /// <exception cref="FarmException">The folder is in use, another job's, or of other numerics.</exception>
    /// <exception cref="StorageException">It cannot be read or written.</exception>
    public static JobSession Open(JobPlan plan, string outFolder, SessionOptions options)
    {
        JobIdentity identity = JobIdentity.Create(plan);
        OutFolder folder = OutFolder.Take(outFolder, identity, plan.Images.Numerics.ToString(), options.AllowOtherNumerics);
        ContactSheetPicks? picks = null;
        ShardedSampleStore? store = null;
        try
        {
            picks = new ContactSheetPicks(folder.WorkPath, plan.PromptCount, plan.Settings.ImagesPerPrompt, options.ContactSheetImages);
            store = new ShardedSampleStore(folder, plan, identity, picks, options.RetryFailed);
            return new JobSession(plan, options, folder, picks, store);
        }
        catch
        {
            store?.Dispose();
            picks?.Dispose();
            folder.Dispose();
            throw;
        }
    }

    /// <summary>Reads prompts ahead: see <see cref="JobCoordinator.PlanAhead"/>.</summary>
    /// <exception cref="PromptFileException">The prompt file changed or cannot be read.</exception>
    public void PlanAhead(long least, long most)
    {
        lock (_gate)
        {
            long before = _coordinator.ImagesPlanned;
            _coordinator.PlanAhead(least, most);
            _isDirty |= _coordinator.ImagesPlanned != before;
        }
    }

    /// <summary>A condition that some worker must make; null where none is needed now.</summary>
    public EncodeItem? NextEncode(ConditionDesk desk)
    {
        lock (_gate)
        {
            while (_coordinator.NextEncode() is { } item)
            {
                switch (desk.Ask(JobId, Lane, item))
                {
                    case ConditionAnswer.IsToBeMade:
                        return item;
                    case ConditionAnswer.IsThere:
                        _coordinator.Encoded(item.Key);
                        _isDirty = true;
                        break;
                    case ConditionAnswer.IsBeingMade:
                        break; // Encoded follows
                }
            }

            return null;
        }
    }

    public bool TryTake([MaybeNullWhen(false)] out DenoiseItem item)
    {
        lock (_gate)
        {
            item = _coordinator.NextDenoise();
            return item is not null;
        }
    }

    /// <summary>Whether an image can be handed out at once.</summary>
    public bool HasReadyImages
    {
        get
        {
            lock (_gate)
            {
                return _coordinator.HasReadyImages;
            }
        }
    }

    /// <summary>Whether all prompts are read and all but a few images handed out: the tenant's next job may begin.</summary>
    public bool IsRunningOut(long images)
    {
        lock (_gate)
        {
            return _coordinator.SourceEnded && _coordinator.ImagesAhead < images;
        }
    }

    public void Encoded(ConditionKey key)
    {
        lock (_gate)
        {
            _coordinator.Encoded(key);
            _isDirty = true;
        }
    }

    /// <summary>Commits a sample; a second one for the same place changes nothing.</summary>
    /// <exception cref="StorageException">It could not be written; to be tried again.</exception>
    public void Commit(FinishedSample sample)
    {
        long before = _store.WrittenCount;
        _store.Add(sample);
        lock (_gate)
        {
            _coordinator.Done(sample.Position);
            _isDirty = true;
            if (_store.WrittenCount > before)
            {
                _denoised++;
                _rate.Add(1);
                _breaker.Succeeded();
                if (_news.Count == MostNews)
                {
                    _news.RemoveAt(0);
                }

                _news.Add(sample.Position);
            }
        }
    }

    /// <summary>Gives an image up; <see cref="Settle"/> writes it down.</summary>
    public void Abandon(DenoiseItem item, string reason)
    {
        lock (_gate)
        {
            _abandoned.Enqueue(new AbandonedImage(item.Position, item.Prompt, item.SampleIndex, reason));
            Hopeless ??= _breaker.Failed(reason);
        }
    }

    /// <summary>A condition cannot be made: gives up the images that wait for it.</summary>
    /// <returns>Whether there were any.</returns>
    public bool EncodeFailed(ConditionKey key, string reason)
    {
        lock (_gate)
        {
            IReadOnlyList<AbandonedImage> abandoned = _coordinator.EncodeFailed(key, reason);
            foreach (AbandonedImage image in abandoned)
            {
                _abandoned.Enqueue(image);
            }

            if (abandoned.Count > 0)
            {
                Hopeless ??= _breaker.Failed(reason); // one condition is one failure, however many images wait for it
            }

            return abandoned.Count > 0;
        }
    }

    /// <summary>Writes down what was given up, and makes all that was committed last.</summary>
    /// <exception cref="StorageException">It could not be written; to be tried again.</exception>
    public void Settle()
    {
        while (PeekAbandoned() is { } image)
        {
            _store.Fail(image.Position, new FailedSample(
                Plan.Layout.Key(image.Position), image.Prompt.Index, image.SampleIndex, image.Prompt.Prompt, image.Reason));
            lock (_gate)
            {
                _abandoned.Dequeue();
                _coordinator.Done(image.Position);
                _isDirty = true;
            }
        }

        _store.Flush();
    }

    /// <summary>True once: when every image is committed or given up, be shards unfinished.</summary>
    public bool TryAnnounceSettled()
    {
        lock (_gate)
        {
            bool isNow = !_isSettledTold && _store.WrittenCount + _store.FailedCount == Plan.ImageCount;
            _isSettledTold |= isNow;
            return isNow;
        }
    }

    public void TakeBack(DenoiseItem item)
    {
        lock (_gate)
        {
            _coordinator.TakeBack(item);
        }
    }

    public void MissingCondition(DenoiseItem item, ConditionKey key)
    {
        lock (_gate)
        {
            _coordinator.MissingCondition(item, key);
        }
    }

    public void TakeAllBack()
    {
        lock (_gate)
        {
            _coordinator.TakeAllBack();
        }
    }

    public void MarkOut(DenoiseItem item)
    {
        lock (_gate)
        {
            _coordinator.MarkOut(item);
        }
    }

    /// <summary>Whether <see cref="FinishShards"/> has something to do and nobody is at it; who gets true does it and calls <see cref="EndFinishing"/>.</summary>
    public bool TryBeginFinishing()
    {
        if ((_store.HasFullShard || IsComplete) && Interlocked.CompareExchange(ref _isFinishing, 1, 0) == 0)
        {
            return true;
        }

        return false;
    }

    public void EndFinishing() => Interlocked.Exchange(ref _isFinishing, 0);

    /// <exception cref="StorageException">A shard could not be written; to be tried again.</exception>
    public void FinishShards() => _store.FinishShards();

    /// <summary>After the last shard: contact sheet, and away with what only an unfinished job needs.</summary>
    /// <returns>The sheet's path, or null where there is no picture to show.</returns>
    /// <exception cref="StorageException">It could not be written; to be tried again.</exception>
    public string? DrawSheet()
    {
        string sheet = _folder.PathOf(SheetName);
        if (WasComplete && File.Exists(sheet))
        {
            return sheet;
        }

        _store.CollectPicks();
        return _picks.Draw(sheet);
    }

    /// <summary>The job is done: away with what only an unfinished one needs.</summary>
    public void RemoveWork() => _folder.RemoveWork();

    public IReadOnlyList<FailedSample> ListFailures(int most) => _store.ListFailures(most);

    public JobCounts Counts
    {
        get
        {
            lock (_gate)
            {
                return new JobCounts(
                    Plan.PromptCount, Plan.ImageCount, Resumed + _coordinator.ImagesPlanned, _writtenBefore + _coordinator.ImagesEncoded,
                    _writtenBefore + _denoised, _store.WrittenCount, _store.FailedCount);
            }
        }
    }

    /// <summary>Shards with samples that are not finished yet, ascending.</summary>
    public IReadOnlyList<long> OpenShards() => _store.OpenShards();

    /// <summary>Samples of an unfinished shard, ascending.</summary>
    public IReadOnlyList<long> PositionsIn(long shard) => _store.PositionsIn(shard);

    /// <summary>A committed sample of an unfinished shard; null where it is not (or no more) in one.</summary>
    public FinishedSample? TryRead(long position) => _store.TryRead(position);

    public double ImagesPerSecond => _rate.PerSecond;

    /// <summary>What was written since the last call, the latest ones where there are many; null where nothing changed at all.</summary>
    public IReadOnlyList<long>? TakeNews()
    {
        lock (_gate)
        {
            if (!_isDirty)
            {
                return null;
            }

            _isDirty = false;
            long[] news = [.. _news];
            _news.Clear();
            return news;
        }
    }

    public void Dispose()
    {
        _store.Dispose();
        _picks.Dispose();
        _folder.Dispose();
    }

    private AbandonedImage? PeekAbandoned()
    {
        lock (_gate)
        {
            return _abandoned.TryPeek(out AbandonedImage? image) ? image : null;
        }
    }
}
