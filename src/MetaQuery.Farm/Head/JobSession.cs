using System.Diagnostics.CodeAnalysis;
using MetaQuery.Data;

namespace MetaQuery.Farm;

/// <summary>A job that is being worked on, as the head has it: plan, folder, store, coordinator, counts. Thread-safe.</summary>
internal sealed partial class JobSession : IWorkSource<DenoiseItem>, IDisposable
{
    private const int MostNews = 256;

    private readonly Lock _gate = new();
    private readonly SessionOptions _options;
    private readonly ISampleStore _store;
    private readonly JobCoordinator _coordinator;
    private readonly RateMeter _rate;
    private readonly long _writtenBefore;
    private readonly long _failedBefore;
    private readonly List<long> _news = [];
    private readonly Queue<AbandonedImage> _abandoned = new();
    private readonly FailureBreaker _breaker;
    private readonly IEnumerator<PlannedPrompt> _prompts;
    private readonly SemaphoreSlim _finishing = new(1, 1);
    private readonly Lock _writing = new();
    private readonly CancellationTokenSource _leaving = new(); // has no timer: nothing to dispose of
    private bool _isEnded;
    private bool _isClosed;
    private long _promptsRead;
    private readonly HashSet<long> _reported = []; // made, but not on disk yet
    private (long Written, long Failed) _onDisk;
    private bool _isDirty = true;

    private JobSession(JobPlan plan, SessionOptions options, ISampleStore store)
    {
        Plan = plan;
        Lane = WorkLane.Of(plan.Conditions, plan.Images);
        _options = options;
        _store = store;
        _writtenBefore = store.WrittenCount;
        _failedBefore = store.FailedCount;
        _onDisk = (_writtenBefore, _failedBefore);
        _rate = new RateMeter(options.Clock);
        Stages = new StageClock(options.Clock);
        WasComplete = store.IsComplete;
        _breaker = new FailureBreaker(options.HopelessAfter);
        if (_writtenBefore > 0)
        {
            _breaker.Succeeded();
        }

        _prompts = PromptStream.Read(plan, store.IsSettled, () => _promptsRead++).GetEnumerator();
        _coordinator = new JobCoordinator(
            _prompts,
            new JobItems(options.JobId, plan, options.Priority, options.TaskTimeout, options.KeepAllConditions), store.IsSettled);
    }

    public string JobId => _options.JobId;

    public long Order => _options.Order;

    public string Tenant => _options.Tenant;

    public JobPriority Priority => _options.Priority;

    public JobPlan Plan { get; }

    public string Lane { get; }

    /// <summary>Nothing was left to do when it was opened.</summary>
    public bool WasComplete { get; }

    /// <summary>Fires when the job is let go: nothing waits for the disk on its behalf any more.</summary>
    public CancellationToken Leaving => _leaving.Token;

    /// <summary>Whether its folder was let go.</summary>
    public bool IsClosed => Volatile.Read(ref _isClosed);

    /// <summary>Every image is committed or given up, every shard written.</summary>
    public bool IsComplete => _store.IsComplete;

    /// <summary>Positions whose failure was forgotten when it was opened.</summary>
    public IReadOnlyList<long> Retried => _store.Retried;

    /// <summary>Why nothing of this job will succeed; null while it may.</summary>
    public string? Hopeless { get; private set; }

    /// <summary>Images committed since it was opened.</summary>
    public long WrittenNow => _store.WrittenCount - _writtenBefore;

    /// <summary>Images settled before it was opened.</summary>
    public long Resumed => _writtenBefore + _failedBefore;

    /// <summary>The numerics that the folder's images were made with.</summary>
    public IReadOnlyList<string> Numerics => _store.Numerics;

    /// <summary>Opens a job's folder and recovers what is in it. May take seconds for a large job.</summary>
    /// <exception cref="FarmException">The folder is in use, another job's, or of other numerics.</exception>
    /// <exception cref="StorageException">It cannot be read or written.</exception>
    public static JobSession Open(JobPlan plan, string outFolder, SessionOptions options) => new(
        plan, options, ShardedSampleStore.Open(plan, outFolder, options.AllowOtherNumerics, options.RetryFailed, options.ContactSheetImages));

    /// <summary>Opens a job whose samples somebody takes as they come.</summary>
    public static JobSession Open(JobPlan plan, ISampleStore store, SessionOptions options) => new(plan, options, store);

    /// <summary>Reads prompts ahead: see <see cref="JobCoordinator.PlanAhead"/>.</summary>
    /// <returns>Whether some cannot be made, for <see cref="Settle"/> to write down.</returns>
    /// <exception cref="PromptFileException">The prompt file changed or cannot be read.</exception>
    public bool PlanAhead(long least, long most)
    {
        lock (_gate)
        {
            long before = _coordinator.ImagesPlanned;
            IReadOnlyList<AbandonedImage> abandoned = Stages.Time("plan", () => _coordinator.PlanAhead(least, most, _options.MostPromptsAhead));
            foreach (AbandonedImage image in abandoned)
            {
                _abandoned.Enqueue(image); // the line's own fault: no sign that the others will fail
            }

            _isDirty |= _coordinator.ImagesPlanned != before;
            return abandoned.Count > 0;
        }
    }

    /// <summary>Reads what is left of the prompts, none of which has images to make: only their end tells that they are what was planned.</summary>
    /// <exception cref="PromptFileException">The prompt file changed or cannot be read.</exception>
    public void ReadToEnd()
    {
        lock (_gate)
        {
            while (!WasComplete && !_coordinator.SourceEnded)
            {
                _coordinator.PlanAhead(long.MaxValue, long.MaxValue, int.MaxValue);
            }
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

    /// <summary>Images that are neither settled nor handed out, read or not.</summary>
    public long ImagesNotHandedOut
    {
        get
        {
            lock (_gate)
            {
                return Plan.ImageCount - _store.WrittenCount - _store.FailedCount - _coordinator.ImagesOut;
            }
        }
    }

    /// <summary>Whether there are images that need nothing more of an encoder: ready or out.</summary>
    public bool HasImagesInWork
    {
        get
        {
            lock (_gate)
            {
                return _coordinator.HasReadyImages || _coordinator.ImagesOut > 0;
            }
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

    public JobCounts Counts
    {
        get
        {
            lock (_gate)
            {
                long denoised = _onDisk.Written + _reported.Count;
                long encoded = Math.Max(_writtenBefore + _coordinator.ImagesEncoded, denoised); // who held an image through a head's death had what it needs
                return new JobCounts(
                    Plan.PromptCount, Plan.ImageCount, Math.Max(Resumed + _coordinator.ImagesPlanned, encoded), encoded, denoised, _onDisk.Written, _onDisk.Failed);
            }
        }
    }

    public double ImagesPerSecond => _rate.PerSecond;

    /// <summary>Where the head's own time goes: plan, write, sync, shard.</summary>
    public StageClock Stages { get; }

    /// <summary>The counts as an embedded run tells them.</summary>
    public JobProgress Progress(JobState state)
    {
        lock (_gate)
        {
            long left = Plan.ImageCount - _onDisk.Written - _onDisk.Failed;
            double rate = WrittenNow > 0 ? _rate.PerSecond : 0;
            return new JobProgress(
                state, Plan.PromptCount, _promptsRead, _coordinator.PromptsEncoded, Plan.ImageCount, _onDisk.Written + _reported.Count,
                _onDisk.Written, _onDisk.Failed, Resumed, rate,
                left == 0 ? TimeSpan.Zero : rate > 0 ? TimeSpan.FromSeconds(Math.Min(left / rate, 3.15e8)) : null);
        }
    }

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
}
