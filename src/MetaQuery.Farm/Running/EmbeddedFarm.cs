using MetaQuery.Data;
using MetaQuery.Imaging;

namespace MetaQuery.Farm;

/// <summary>Runs jobs inside this process: slots, condition cache, journal and shards, no server.</summary>
public sealed class EmbeddedFarm
{
    private readonly IFarmModel _model;
    private readonly ConditionIdentity _conditions;
    private readonly ImageModelInfo _images;

    /// <param name="model">A loaded model; each run takes one encoder and one denoiser per slot from it.</param>
    public EmbeddedFarm(IFarmModel model)
    {
        ArgumentNullException.ThrowIfNull(model);
        _model = model;
        (_conditions, _images) = model.Description;
    }

    /// <summary>What <see cref="RunAsync"/> would do, without doing it.</summary>
    /// <exception cref="FarmException">See <see cref="RunAsync"/>.</exception>
    /// <exception cref="PromptFileException">The prompt file is not usable.</exception>
    public Task<JobPlanSummary> PlanAsync(JobSpec spec, FarmOptions options, CancellationToken cancellationToken) => Task.Run(() =>
    {
        JobSpecValidator.Check(options);
        JobPlan plan = JobPlan.Create(spec, _conditions, _images, cancellationToken);
        long committed = 0;
        if (OutFolder.Peek(spec.OutFolder, JobIdentity.Create(plan)))
        {
            string manifest = Path.Combine(spec.OutFolder, Manifest.FileName);
            if (File.Exists(manifest))
            {
                using Manifest lines = Manifest.Load(manifest);
                committed = lines.Shards.Values.Sum(entry => (long)entry.SampleCount);
            }
        }

        return new JobPlanSummary(
            plan.PromptCount, plan.UniquePrompts, plan.UniqueNegativePrompts, plan.ImageCount, plan.ShardCount, plan.EstimateBytes(),
            committed, plan.Settings, plan.Source.SkippedLines);
    }, cancellationToken);

    /// <summary>Turns a job into shards and a manifest, or goes on with one that was stopped.</summary>
    /// <param name="spec">The job.</param>
    /// <param name="options">How to run it.</param>
    /// <param name="progress">Called from the working threads, one at a time, about ten times a second: must not block.</param>
    /// <param name="cancellationToken">Stops within one denoising step.</param>
    /// <returns>How it ended: also when cancelled, with the folder in a state to go on from.</returns>
    /// <exception cref="FarmException">One line for the user, with an exit code (<see cref="ExitCodes.For"/>).</exception>
    /// <exception cref="PromptFileException">The prompt file is not usable, or changed while the job ran.</exception>
    /// <exception cref="StorageException">The folder cannot be written to; what was committed stays.</exception>
    /// <exception cref="OperationCanceledException">Cancelled while still planning: nothing was begun.</exception>
    public Task<JobResult> RunAsync(
        JobSpec spec, FarmOptions options, IProgress<JobProgress>? progress, CancellationToken cancellationToken) =>
        Task.Run(() => Run(spec, options, progress, cancellationToken), CancellationToken.None);

    /// <summary>Makes pictures in memory with the same seeds and bits as a job of the same prompts; <see cref="JobSpec.OutFolder"/> is not touched.</summary>
    /// <returns>Ordered by prompt and sample; images that were given up are missing.</returns>
    /// <exception cref="FarmException">One line for the user, with an exit code (<see cref="ExitCodes.For"/>).</exception>
    /// <exception cref="OperationCanceledException">When <paramref name="cancellationToken"/> fires.</exception>
    public Task<IReadOnlyList<GeneratedImage>> GenerateAsync(
        JobSpec spec, FarmOptions options, IProgress<JobProgress>? progress, CancellationToken cancellationToken) =>
        Task.Run<IReadOnlyList<GeneratedImage>>(() =>
        {
            JobSpecValidator.Check(options);
            JobPlan plan = JobPlan.Create(spec, _conditions, _images, cancellationToken);
            var images = new SortedDictionary<long, GeneratedImage>();
            var store = new MemorySampleStore();
            var meter = new ProgressMeter(plan, 0, 0, options.Clock, progress);
            var runner = new JobRunner(
                plan, options, _model, new ConditionCache(options.CacheMemoryBytes, SharedDiskTier(options)), store, meter,
                (planned, picture, file) => images.Add(planned.Position, new GeneratedImage(
                    checked((int)planned.Prompt.Line.Index), planned.SampleIndex, planned.Prompt.Line.Prompt, planned.Seed, picture, file)),
                cancellationToken);
            if (!runner.Run())
            {
                throw new OperationCanceledException(cancellationToken);
            }

            if (images.Count == 0)
            {
                throw new GenerationException($"no image could be made: {store.LastReason}");
            }

            meter.Report(store.LastReason is null ? JobState.Completed : JobState.CompletedWithErrors);
            return [.. images.Values];
        }, CancellationToken.None);

    private static DiskConditionTier? SharedDiskTier(FarmOptions options) =>
        options.CacheFolder is { } shared ? new DiskConditionTier(shared, options.CacheDiskBytes) : null;

    private JobResult Run(JobSpec spec, FarmOptions options, IProgress<JobProgress>? progress, CancellationToken cancellationToken)
    {
        JobSpecValidator.Check(options);
        progress?.Report(new JobProgress(JobState.Planning, 0, 0, 0, 0, 0, 0, 0, 0, 0, null));
        JobPlan plan = JobPlan.Create(spec, _conditions, _images, cancellationToken);
        JobIdentity identity = JobIdentity.Create(plan);
        using OutFolder folder = OutFolder.Take(spec.OutFolder, identity, plan.Images.Numerics.ToString(), options.AllowOtherNumerics);
        using var picks = new ContactSheetPicks(folder.WorkPath, plan.PromptCount, plan.Settings.ImagesPerPrompt, options.ContactSheetImages);
        using var store = new ShardedSampleStore(folder, plan, identity, picks, options.RetryFailed);
        var meter = new ProgressMeter(plan, store.WrittenCount, store.FailedCount, options.Clock, progress);
        bool wasComplete = store.IsComplete;
        var cache = new ConditionCache(
            options.CacheMemoryBytes,
            SharedDiskTier(options) ?? new DiskConditionTier(Path.Combine(folder.WorkPath, "conditions"), options.CacheDiskBytes));
        meter.Report(JobState.Running);
        var runner = new JobRunner(plan, options, _model, cache, store, meter, onImage: null, cancellationToken);
        if (!wasComplete && !runner.Run())
        {
            JobProgress last = meter.Report(JobState.Cancelled);
            return new JobResult(JobState.Cancelled, last, runner.Stats(), store.ListFailures(100), plan.Source.SkippedLines, ContactSheet: null);
        }

        if (!store.IsComplete)
        {
            throw new InvalidOperationException($"{spec.OutFolder}: the job ended with {store.WrittenCount} + {store.FailedCount} of {plan.ImageCount} images settled");
        }

        JobStats stats = runner.Stats();
        JobState state = store.FailedCount > 0 ? JobState.CompletedWithErrors : JobState.Completed;
        meter.Report(JobState.Finishing);
        string sheet = folder.PathOf("contact-sheet.png");
        string? drawn = wasComplete && File.Exists(sheet) ? sheet : null;
        if (drawn is null)
        {
            store.CollectPicks();
            drawn = picks.Draw(sheet);
        }

        JobProgress end = meter.Report(state);
        string statsPath = folder.PathOf(StatsFile.Name);
        if (!wasComplete || !File.Exists(statsPath))
        {
            StatsFile.Write(statsPath, state, end, stats, string.Join(" | ", folder.Numerics), options.Slots);
        }

        folder.RemoveWork();
        return new JobResult(state, end, stats, store.ListFailures(100), plan.Source.SkippedLines, drawn);
    }
}
