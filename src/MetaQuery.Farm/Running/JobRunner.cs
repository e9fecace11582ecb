using System.Collections.Concurrent;
using System.Runtime.ExceptionServices;
using MetaQuery.Data;
using MetaQuery.Imaging;

namespace MetaQuery.Farm;

/// <summary>Runs one job: slots take tasks from the coordinator, a writer commits what they make.</summary>
internal sealed class JobRunner
{
    private static readonly TimeSpan FlushEvery = TimeSpan.FromMilliseconds(500);

    private readonly JobPlan _plan;
    private readonly FarmOptions _options;
    private readonly IFarmModel _model;
    private readonly ConditionCache _cache;
    private readonly ISampleStore _store;
    private readonly ProgressMeter _meter;
    private readonly StageClock _stages;
    private readonly SampleMaker _maker;
    private readonly Action<PlannedImage, RgbImage, byte[]>? _onImage;
    private readonly Action _finishShards;
    private readonly object _gate = new();
    private readonly BatchCoordinator _coordinator;
    private readonly BlockingCollection<Made> _made;
    private readonly CancellationTokenSource _stop;
    private ExceptionDispatchInfo? _fault;
    private int _liveSlots;
    private readonly EncoderCounters _counters = new();
    private long _denoiseBatches;
    private long _paddedRows;
    private long _retries;

    public JobRunner(
        JobPlan plan, FarmOptions options, IFarmModel model, ConditionCache cache, ISampleStore store, ProgressMeter meter,
        Action<PlannedImage, RgbImage, byte[]>? onImage, CancellationToken cancellationToken)
    {
        _plan = plan;
        _options = options;
        _model = model;
        _cache = cache;
        _store = store;
        _meter = meter;
        _onImage = onImage;
        _finishShards = store is ShardedSampleStore sharded ? sharded.FinishShards : () => { };
        _stages = new StageClock(options.Clock);
        _maker = new SampleMaker(plan.Images);
        _made = new BlockingCollection<Made>(boundedCapacity: 4 * options.Slots);
        _stop = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        _coordinator = new BatchCoordinator(
            PromptStream.Read(plan, store, meter).GetEnumerator(),
            CoordinatorLimits.For(options.Slots, plan.Settings.BatchSize, options.EncodeBatchSize),
            (prompt, sample) => PromptStream.Address(plan.Settings, prompt, sample));
    }

    /// <summary>Runs to the end, to a cancellation or to a fault that is not one image's.</summary>
    /// <returns>Whether all images are settled; false when cancelled.</returns>
    /// <exception cref="FarmException">What ended the run; what was made until then is committed.</exception>
    public bool Run()
    {
        (IConditionEncoder Encoder, IImageDenoiser Denoiser)[] halves =
            [.. Enumerable.Range(0, _options.Slots).Select(_ => (_model.CreateEncoder(), _model.CreateDenoiser()))];
        foreach ((IConditionEncoder encoder, IImageDenoiser denoiser) in halves)
        {
            CheckSlot(encoder, denoiser);
        }

        using CancellationTokenRegistration wake = _stop.Token.Register(() =>
        {
            lock (_gate)
            {
                Monitor.PulseAll(_gate);
            }
        });
        _liveSlots = halves.Length;
        var threads = new List<Thread>();
        for (int i = 0; i < halves.Length; i++)
        {
            (IConditionEncoder encoder, IImageDenoiser denoiser) = halves[i];
            threads.Add(Start($"slot {i}", () => RunSlot(encoder, denoiser)));
        }

        threads.Add(Start("writer", RunWriter));
        threads.ForEach(thread => thread.Join());
        foreach ((IConditionEncoder encoder, IImageDenoiser denoiser) in halves)
        {
            (encoder as IDisposable)?.Dispose();
            (denoiser as IDisposable)?.Dispose();
        }

        _fault?.Throw();
        return _coordinator.IsFinished;
    }

    public JobStats Stats()
    {
        long images = _meter.Written;
        TimeSpan elapsed = _meter.Elapsed;
        return new JobStats(
            images, images / Math.Max(elapsed.TotalSeconds, 1e-3), elapsed, _counters.Passes,
            _counters.Calls, _cache.Counters, Interlocked.Read(ref _denoiseBatches), Interlocked.Read(ref _paddedRows),
            Interlocked.Read(ref _retries), _stages.Totals);
    }

    private readonly record struct Made(IReadOnlyList<(PlannedImage Planned, RgbImage Picture)> Pictures, IReadOnlyList<AbandonedImage> Abandoned);

    private void CheckSlot(IConditionEncoder encoder, IImageDenoiser denoiser)
    {
        if (denoiser.Info.ModelRevision != _plan.Images.ModelRevision || encoder.Identity with { Numerics = _plan.Conditions.Numerics } != _plan.Conditions)
        {
            throw new ModelMismatchException($"a slot has model {denoiser.Info.ModelRevision}, the job {_plan.Images.ModelRevision}");
        }

        if (denoiser.Info.Numerics != _plan.Images.Numerics && !_options.AllowOtherNumerics)
        {
            throw new ModelMismatchException($"a slot computes with {denoiser.Info.Numerics}, the job with {_plan.Images.Numerics}");
        }
    }

    private Thread Start(string name, Action body)
    {
        var thread = new Thread(() =>
        {
            try
            {
                body();
            }
            catch (OperationCanceledException) when (_stop.IsCancellationRequested)
            {
                // the run was stopped: what is committed stays
            }
#pragma warning disable CA1031 // rethrown by Run on the caller's thread
            catch (Exception exception)
#pragma warning restore CA1031
            {
                Interlocked.CompareExchange(ref _fault, ExceptionDispatchInfo.Capture(exception), null);
                _stop.Cancel();
            }
        })
        { Name = name, IsBackground = true };
        thread.Start();
        return thread;
    }

    private void RunSlot(IConditionEncoder encoder, IImageDenoiser denoiser)
    {
        var conditions = new ConditionStage(_plan, _cache, encoder, _counters, keepAll: _options.CacheFolder is not null);
        try
        {
            while (NextTask() is { } task)
            {
                if (task is EncodeTask encode)
                {
                    Encode(encode, conditions);
                }
                else
                {
                    Denoise((DenoiseTask)task, denoiser);
                }
            }
        }
        finally
        {
            if (Interlocked.Decrement(ref _liveSlots) == 0)
            {
                _made.CompleteAdding();
            }
        }
    }

    private FarmTask? NextTask()
    {
        lock (_gate)
        {
            while (!_stop.IsCancellationRequested && !_coordinator.IsFinished)
            {
                if (_stages.Time("plan", _coordinator.Next) is { } task)
                {
                    return task;
                }

                // the last look at the source is what tells that it has ended
                if (!_coordinator.IsFinished)
                {
                    _stages.Time("idle", () => Monitor.Wait(_gate));
                }
            }

            Monitor.PulseAll(_gate);
            return null;
        }
    }

    private void Encode(EncodeTask task, ConditionStage conditions)
    {
        PromptConditions[] results;
        try
        {
            results = _stages.Time("encode", () => conditions.Get(task.Prompts, _stop.Token));
        }
#pragma warning disable CA1031 // whatever the encoder's error is, it is counted against its prompts and listed with its reason
        catch (Exception exception) when (exception is not (OperationCanceledException or StorageException))
#pragma warning restore CA1031
        {
            Interlocked.Increment(ref _retries);
            Settle(() => _coordinator.EncodeFailed(task, OneLine(exception)));
            return;
        }

        Settle(() =>
        {
            _coordinator.Encoded(task, results);
            return [];
        });
        _meter.Encoded(task.Prompts.Count);
    }

    private void Denoise(DenoiseTask task, IImageDenoiser denoiser)
    {
        ResolvedSettings settings = _plan.Settings;
        var batch = new DenoiseBatch(
            settings.Size.HeightPixels, settings.Size.WidthPixels, task.NumInferenceSteps, settings.BatchSize,
            [.. task.Images.Select(image => new DenoiseRow(
                image.Conditions.Condition, image.Conditions.Negative, image.Prompt.Settings.GuidanceScale, image.Seed))]);
        IReadOnlyList<RgbImage> pictures;
        try
        {
            pictures = _stages.Time("denoise", () => denoiser.Denoise(batch, _stop.Token));
            if (pictures.Count != task.Images.Count
                || pictures.Any(picture => picture.HeightPixels != settings.Size.HeightPixels || picture.WidthPixels != settings.Size.WidthPixels))
            {
                throw new InvalidOperationException(
                    $"the denoiser gave {pictures.Count} pictures ({string.Join(", ", pictures.Select(picture => $"{picture.HeightPixels}x{picture.WidthPixels}").Distinct())}) for {task.Images.Count} of {settings.Size}");
            }
        }
#pragma warning disable CA1031 // whatever the denoiser's error is, it is counted against its images and listed with its reason
        catch (Exception exception) when (exception is not OperationCanceledException)
#pragma warning restore CA1031
        {
            Interlocked.Increment(ref _retries);
            Settle(() => _coordinator.DenoiseFailed(task, OneLine(exception)));
            return;
        }

        Interlocked.Increment(ref _denoiseBatches);
        Interlocked.Add(ref _paddedRows, settings.BatchSize - task.Images.Count);
        _meter.Denoised(pictures.Count);
        _stages.Time("wait for writer", () => _made.Add(new Made([.. task.Images.Zip(pictures)], []), CancellationToken.None));
        Settle(() =>
        {
            _coordinator.Denoised(task);
            return [];
        });
    }

    private void Settle(Func<IReadOnlyList<AbandonedImage>> decide)
    {
        IReadOnlyList<AbandonedImage> abandoned;
        lock (_gate)
        {
            abandoned = decide();
            Monitor.PulseAll(_gate);
        }

        if (abandoned.Count > 0)
        {
            _made.Add(new Made([], abandoned), CancellationToken.None);
        }
    }

    /// <summary>Drains until every slot has ended, so that what was denoised before a stop is committed; after a fault of its own it only drains.</summary>
    private void RunWriter()
    {
        bool broken = false;
        long lastFlush = _options.Clock.GetTimestamp();
        foreach (Made made in _made.GetConsumingEnumerable())
        {
            if (broken)
            {
                continue;
            }

            try
            {
                Commit(made);
                if (_options.Clock.GetElapsedTime(lastFlush) > FlushEvery)
                {
                    _stages.Time("sync", _store.Flush);
                    lastFlush = _options.Clock.GetTimestamp();
                }
            }
#pragma warning disable CA1031 // rethrown by Run on the caller's thread; the slots must not wait for a writer that is gone
            catch (Exception exception)
#pragma warning restore CA1031
            {
                broken = true;
                Interlocked.CompareExchange(ref _fault, ExceptionDispatchInfo.Capture(exception), null);
                _stop.Cancel();
            }
        }

        if (!broken)
        {
            _stages.Time("sync", _store.Flush);
        }
    }

    private void Commit(Made made)
    {
        foreach ((PlannedImage planned, RgbImage picture) in made.Pictures)
        {
            (byte[] image, byte[] caption, byte[] json) = _stages.Time("image", () => _maker.Make(ItemOf(planned), picture));
            _stages.Time("write", () => _store.Add(new FinishedSample(planned.Position, image, caption, json)));
            _onImage?.Invoke(planned, picture, image);
            _meter.Committed(1);
        }

        foreach (AbandonedImage abandoned in made.Abandoned)
        {
            _store.Fail(abandoned.Position, new FailedSample(
                _plan.Layout.Key(abandoned.Position), abandoned.Prompt.Index, abandoned.SampleIndex, abandoned.Prompt.Prompt, abandoned.Reason));
            _meter.Failed(1);
        }

        _stages.Time("shard", _finishShards);
    }

    private DenoiseItem ItemOf(PlannedImage planned) => new(
        "", planned.Position, _plan.Layout.Key(planned.Position), planned.Prompt.Line, planned.Prompt.Settings, planned.SampleIndex, planned.Seed, default, null,
        _plan.Settings.Size, _plan.Settings.BatchSize, _plan.Settings.Format, _plan.Settings.Quality);

    private static string OneLine(Exception exception) => $"{exception.GetType().Name}: {exception.Message.ReplaceLineEndings(" ")}";
}
