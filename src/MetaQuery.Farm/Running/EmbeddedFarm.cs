using System.Text;
using MetaQuery.Data;

namespace MetaQuery.Farm;

/// <summary>Runs jobs inside this process: head, queue, workers and condition cache, no server.</summary>
public sealed class EmbeddedFarm
{
    private const string EmbeddedJob = "embedded";

    private readonly IFarmModel _model;
    private readonly ModelDescription _description;

    /// <param name="model">A loaded model; each run takes one encoder and one denoiser per slot from it.</param>
    public EmbeddedFarm(IFarmModel model)
    {
        ArgumentNullException.ThrowIfNull(model);
        _model = model;
        _description = model.Description;
    }

    /// <summary>What <see cref="RunAsync"/> would do, without doing it.</summary>
    /// <exception cref="FarmException">See <see cref="RunAsync"/>.</exception>
    /// <exception cref="PromptFileException">The prompt file is not usable.</exception>
    public Task<JobPlanSummary> PlanAsync(JobSpec spec, FarmOptions options, CancellationToken cancellationToken) => PlanAsync(_description, spec, options, cancellationToken);

    /// <summary>What <see cref="RunAsync"/> would do, for a model whose weights need not be loaded.</summary>
    /// <inheritdoc cref="PlanAsync(JobSpec, FarmOptions, CancellationToken)"/>
    public static Task<JobPlanSummary> PlanAsync(ModelDescription model, JobSpec spec, FarmOptions options, CancellationToken cancellationToken) => Task.Run(() =>
    {
        ArgumentNullException.ThrowIfNull(model);
        JobSpecValidator.Check(options);
        JobPlan plan = JobPlan.Create(spec, model.Conditions, model.Images, cancellationToken, InputOf(model, spec));
        long committed = OutFolder.Peek(spec.OutFolder, JobIdentity.Create(plan)) ? ShardRecovery.CountCommitted(spec.OutFolder, plan) : 0;
        return new JobPlanSummary(
            plan.PromptCount, plan.UniquePrompts, plan.UniqueNegativePrompts, plan.ImageCount, plan.ShardCount, plan.EstimateBytes(),
            committed, plan.Settings, plan.Source.SkippedLines)
        {
            PromptsWithPictures = plan.Pictures?.PromptCount ?? 0,
            UnusablePrompts = plan.Pictures?.FaultCount ?? 0,
            UnusableLines = plan.Pictures?.Faults ?? [],
        };
    }, cancellationToken);

    /// <summary>Turns a job into shards and a manifest, or goes on with one that was stopped.</summary>
    /// <param name="spec">The job.</param>
    /// <param name="options">How to run it.</param>
    /// <param name="progress">Called about ten times a second, one call at a time: must not block.</param>
    /// <param name="cancellationToken">Stops within one denoising step.</param>
    /// <returns>How it ended: also when cancelled, with the folder in a state to go on from.</returns>
    /// <exception cref="FarmException">One line for the user, with an exit code (<see cref="ExitCodes.For"/>).</exception>
    /// <exception cref="PromptFileException">The prompt file is not usable, or changed while the job ran.</exception>
    /// <exception cref="StorageException">The folder cannot be written to; what was committed stays.</exception>
    /// <exception cref="OperationCanceledException">Cancelled while still planning: nothing was begun.</exception>
    public Task<JobResult> RunAsync(
        JobSpec spec, FarmOptions options, IProgress<JobProgress>? progress, CancellationToken cancellationToken) =>
        Task.Run(() => RunCoreAsync(spec, options, progress, cancellationToken), CancellationToken.None);

    /// <summary>Makes pictures with the same seeds and bits as a job of the same prompts; <see cref="JobSpec.OutFolder"/> is not touched, and none is kept in memory.</summary>
    /// <param name="spec">The job.</param>
    /// <param name="options">How to run it.</param>
    /// <param name="onImage">Takes each picture as it is made, one at a time, in any order.</param>
    /// <param name="progress">Called about ten times a second, one call at a time: must not block.</param>
    /// <param name="cancellationToken">Stops within one denoising step.</param>
    /// <returns>Images made; those that were given up are missing.</returns>
    /// <exception cref="FarmException">One line for the user, with an exit code (<see cref="ExitCodes.For"/>).</exception>
    /// <exception cref="OperationCanceledException">When <paramref name="cancellationToken"/> fires.</exception>
    public Task<long> GenerateAsync(
        JobSpec spec, FarmOptions options, Action<GeneratedImage> onImage, IProgress<JobProgress>? progress, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(spec);
        ArgumentNullException.ThrowIfNull(onImage);
        return Task.Run(() => GenerateCoreAsync(spec, options, onImage, progress, cancellationToken), CancellationToken.None);
    }

    /// <summary>The same, all pictures at once.</summary>
    /// <returns>Ordered by prompt and sample.</returns>
    /// <inheritdoc cref="GenerateAsync(JobSpec, FarmOptions, Action{GeneratedImage}, IProgress{JobProgress}, CancellationToken)"/>
    public async Task<IReadOnlyList<GeneratedImage>> GenerateAsync(
        JobSpec spec, FarmOptions options, IProgress<JobProgress>? progress, CancellationToken cancellationToken)
    {
        var images = new List<GeneratedImage>();
        await GenerateAsync(spec, options, images.Add, progress, cancellationToken).ConfigureAwait(false);
        return [.. images.OrderBy(image => image.PromptIndex).ThenBy(image => image.SampleIndex)];
    }

    private async Task<JobResult> RunCoreAsync(JobSpec spec, FarmOptions options, IProgress<JobProgress>? progress, CancellationToken cancellationToken)
    {
        JobSpecValidator.Check(options);
        progress?.Report(new JobProgress(JobState.Planning, 0, 0, 0, 0, 0, 0, 0, 0, 0, null));
        PictureInput input = InputOf(_description, spec);
        JobPlan plan = JobPlan.Create(spec, _description.Conditions, _description.Images, cancellationToken, input);
        using JobSession session = JobSession.Open(plan, spec.OutFolder, SessionOptionsFor(options, plan));
        var pictures = new PictureFolder(Path.Combine(spec.OutFolder, OutFolder.WorkFolderName, "pictures"));
        if (plan.Pictures is { } named && !session.WasComplete)
        {
            named.Keep(plan.Source, input.Open, pictures, cancellationToken); // only now is the folder known to be this job's
        }

        var cache = new ConditionCache(
            options.CacheMemoryBytes,
            SharedDiskTier(options) ?? new DiskConditionTier(Path.Combine(spec.OutFolder, OutFolder.WorkFolderName, "conditions"), options.CacheDiskBytes));
        var run = new EmbeddedRun(session, _model, cache, pictures, options, progress);
        if (!await run.RunAsync(cancellationToken).ConfigureAwait(false))
        {
            return new JobResult(
                JobState.Cancelled, run.Report(JobState.Cancelled), run.Stats(), session.ListFailures(100), plan.Source.SkippedLines, ContactSheet: null);
        }

        JobStats stats = run.Stats();
        JobState state = session.Counts.Failed > 0 ? JobState.CompletedWithErrors : JobState.Completed;
        run.Report(JobState.Finishing);
        string? sheet = session.DrawSheet();
        JobProgress end = run.Report(state);
        session.WriteStats(state, end, stats, options.Slots);
        session.RemoveWork();
        return new JobResult(state, end, stats, session.ListFailures(100), plan.Source.SkippedLines, sheet);
    }

    private async Task<long> GenerateCoreAsync(
        JobSpec spec, FarmOptions options, Action<GeneratedImage> onImage, IProgress<JobProgress>? progress, CancellationToken cancellationToken)
    {
        JobSpecValidator.Check(options);
        var pictures = new MemoryPictures();
        JobPlan plan = JobPlan.Create(
            spec, _description.Conditions, _description.Images, cancellationToken, InputOf(_description, spec) with { Keeper = pictures });
        var store = new MemorySampleStore(plan.ImageCount, plan.Images.Numerics.ToString(), sample =>
        {
            (long prompt, long index) = Math.DivRem(sample.Position, plan.Settings.ImagesPerPrompt);
            onImage(new GeneratedImage(checked((int)prompt), (int)index, Encoding.UTF8.GetString(sample.Caption.Span), sample.Image.ToArray()));
        });
        using JobSession session = JobSession.Open(plan, store, SessionOptionsFor(options, plan));
        var run = new EmbeddedRun(session, _model, new ConditionCache(options.CacheMemoryBytes, SharedDiskTier(options)), pictures, options, progress);
        if (!await run.RunAsync(cancellationToken).ConfigureAwait(false))
        {
            throw new OperationCanceledException(cancellationToken);
        }

        if (store.WrittenCount == 0)
        {
            throw new GenerationException($"no image could be made: {store.LastReason}");
        }

        run.Report(store.FailedCount == 0 ? JobState.Completed : JobState.CompletedWithErrors);
        return store.WrittenCount;
    }

    private static PictureInput InputOf(ModelDescription model, JobSpec spec) => new()
    {
        Open = PictureFiles.Beside(spec.PromptFile is { } path ? Path.GetDirectoryName(Path.GetFullPath(path))! : "."),
        Refusal = model.PictureRefusal,
    };

    private static DiskConditionTier? SharedDiskTier(FarmOptions options) =>
        options.CacheFolder is { } shared ? new DiskConditionTier(shared, options.CacheDiskBytes) : null;

    private static SessionOptions SessionOptionsFor(FarmOptions options, JobPlan plan)
    {
        // a condition that is dropped from memory before its images are made would be made again: none is made further ahead than memory holds
        long held = options.CacheMemoryBytes / Math.Max(1, plan.Conditions.ConditionBytes);
        return new SessionOptions
        {
            JobId = EmbeddedJob,
            KeepAllConditions = options.CacheFolder is not null || held < 4L * options.Slots * plan.Settings.BatchSize,
            AllowOtherNumerics = options.AllowOtherNumerics,
            RetryFailed = options.RetryFailed,
            ContactSheetImages = options.ContactSheetImages,
            MostPromptsAhead = (int)Math.Clamp(held / 4, 1, 4096),
            Clock = options.Clock,
        };
    }
}
