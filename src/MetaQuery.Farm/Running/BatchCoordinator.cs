namespace MetaQuery.Farm;

/// <summary>Decides what is done next in a job. State in, decisions out: no clock, no thread, no file, no tensor.</summary>
/// <remarks>
/// Prompts come as a stream; an encode task covers several prompts, a denoise task several prompts' images of equal steps. Memory is
/// bounded by <see cref="CoordinatorLimits"/>. Not thread-safe: its host calls it under one lock.
/// Every image of the stream is in exactly one of: not read yet, waiting, in a task, denoised, given up.
/// </remarks>
public sealed class BatchCoordinator
{
    private readonly IEnumerator<PlannedPrompt> _source;
    private readonly CoordinatorLimits _limits;
    private readonly Func<PlannedPrompt, int, (long Position, ulong Seed)> _address;
    private readonly Queue<PlannedPrompt> _unencoded = new();
    private readonly Queue<EncodeTask> _encodeAgain = new();
    private readonly Queue<DenoiseTask> _denoiseAgain = new();
    private readonly Dictionary<(int Steps, bool Guided), Queue<PlannedImage>> _ready = [];
    private bool _sourceEnded;
    private int _readyImages;
    private int _imagesBeingEncoded;
    private int _tasksOut;
    private long _lastPromptIndex = -1;

    /// <param name="source">Prompts with images to make, in ascending order of their index.</param>
    /// <param name="limits">How far to work ahead.</param>
    /// <param name="address">Place and seed of a prompt's sample.</param>
    public BatchCoordinator(
        IEnumerator<PlannedPrompt> source, CoordinatorLimits limits, Func<PlannedPrompt, int, (long Position, ulong Seed)> address)
    {
        ArgumentNullException.ThrowIfNull(source);
        ArgumentNullException.ThrowIfNull(limits);
        ArgumentNullException.ThrowIfNull(address);
        _source = source;
        _limits = limits;
        _address = address;
    }

    /// <summary>Nothing is left to hand out and nothing is out.</summary>
    public bool IsFinished => _tasksOut == 0 && _sourceEnded && _unencoded.Count == 0 && _encodeAgain.Count == 0
        && _denoiseAgain.Count == 0 && _readyImages == 0;

    /// <summary>The next task for a free slot; or null where everything that can be done is being done, or where the look at the source
    /// has shown that all is done: <see cref="IsFinished"/> tells.</summary>
    public FarmTask? Next()
    {
        FarmTask? task = Choose();
        if (task is not null)
        {
            _tasksOut++;
            if (task is EncodeTask encode)
            {
                _imagesBeingEncoded += CountImages(encode);
            }
        }

        return task;
    }

    /// <summary>The conditions of an encode task's prompts are there.</summary>
    public void Encoded(EncodeTask task, IReadOnlyList<PromptConditions> conditions)
    {
        ArgumentNullException.ThrowIfNull(task);
        ArgumentNullException.ThrowIfNull(conditions);
        if (conditions.Count != task.Prompts.Count)
        {
            throw new ArgumentException($"{conditions.Count} conditions for {task.Prompts.Count} prompts", nameof(conditions));
        }

        Return(task);
        for (int i = 0; i < conditions.Count; i++)
        {
            PlannedPrompt prompt = task.Prompts[i];
            (int, bool) group = (prompt.Settings.NumInferenceSteps, prompt.Settings.IsGuided);
            if (!_ready.TryGetValue(group, out Queue<PlannedImage>? images))
            {
                _ready[group] = images = new Queue<PlannedImage>();
            }

            foreach (int sample in prompt.Samples)
            {
                (long position, ulong seed) = _address(prompt, sample);
                images.Enqueue(new PlannedImage(position, prompt, sample, seed, conditions[i], Failures: 0));
                _readyImages++;
            }
        }
    }

    /// <summary>Encoding failed: several prompts are tried again one by one, one prompt up to three times.</summary>
    /// <returns>The images given up.</returns>
    public IReadOnlyList<AbandonedImage> EncodeFailed(EncodeTask task, string reason)
    {
        ArgumentNullException.ThrowIfNull(task);
        Return(task);
        int failures = task.Failures + 1;
        if (failures < CoordinatorLimits.MaxFailures)
        {
            foreach (PlannedPrompt prompt in task.Prompts)
            {
                _encodeAgain.Enqueue(new EncodeTask([prompt], failures));
            }

            return [];
        }

        return
        [
            .. task.Prompts.SelectMany(prompt => prompt.Samples.Select(
                sample => new AbandonedImage(_address(prompt, sample).Position, prompt.Line, sample, reason))),
        ];
    }

    /// <summary>A denoise task's images are made.</summary>
    public void Denoised(DenoiseTask task)
    {
        ArgumentNullException.ThrowIfNull(task);
        _tasksOut--;
    }

    /// <summary>Denoising failed: the batch's images are tried again one by one, each up to three times.</summary>
    /// <returns>The images given up.</returns>
    public IReadOnlyList<AbandonedImage> DenoiseFailed(DenoiseTask task, string reason)
    {
        ArgumentNullException.ThrowIfNull(task);
        _tasksOut--;
        var abandoned = new List<AbandonedImage>();
        foreach (PlannedImage image in task.Images)
        {
            int failures = image.Failures + 1;
            if (failures >= CoordinatorLimits.MaxFailures)
            {
                abandoned.Add(new AbandonedImage(image.Position, image.Prompt.Line, image.SampleIndex, reason));
            }
            else
            {
                _denoiseAgain.Enqueue(task with { Images = [image with { Failures = failures }] });
            }
        }

        return abandoned;
    }

    private FarmTask? Choose()
    {
        if (_denoiseAgain.TryDequeue(out DenoiseTask? again))
        {
            return again;
        }

        if (_encodeAgain.TryDequeue(out EncodeTask? encodeAgain))
        {
            return encodeAgain;
        }

        // the encoder works ahead of the denoisers: a batch is always ready when a slot comes free
        if (_readyImages + _imagesBeingEncoded < _limits.ReadyImages && TakePrompts() is { } encode)
        {
            return encode;
        }

        if (TakeOverdueImages() is { } overdue)
        {
            return overdue;
        }

        if (TakeImages(_limits.BatchSize) is { } full)
        {
            return full;
        }

        if (TakePrompts() is { } more)
        {
            return more;
        }

        // short batches only when no more images can come to fill them
        return _imagesBeingEncoded == 0 ? TakeImages(1) : null;
    }

    private EncodeTask? TakePrompts()
    {
        while (!_sourceEnded && _unencoded.Count < _limits.PromptsAhead)
        {
            if (_source.MoveNext())
            {
                _lastPromptIndex = _source.Current.Line.Index;
                _unencoded.Enqueue(_source.Current);
            }
            else
            {
                _sourceEnded = true;
            }
        }

        if (_unencoded.Count == 0)
        {
            return null;
        }

        var prompts = new List<PlannedPrompt>(_limits.EncodeBatchSize);
        while (prompts.Count < _limits.EncodeBatchSize && _unencoded.TryDequeue(out PlannedPrompt? prompt))
        {
            prompts.Add(prompt);
        }

        return new EncodeTask(prompts, Failures: 0);
    }

    /// <summary>A group that has waited long for its batch to fill goes as it is: otherwise its shard would stay open until the end.</summary>
    private DenoiseTask? TakeOverdueImages()
    {
        foreach (((int, bool) group, Queue<PlannedImage> images) in _ready)
        {
            if (images.TryPeek(out PlannedImage? oldest) && _lastPromptIndex - oldest.Prompt.Line.Index > _limits.HoldPrompts)
            {
                return Take(group, images);
            }
        }

        return null;
    }

    private DenoiseTask? TakeImages(int least)
    {
        (int, bool)? best = null;
        long bestPosition = long.MaxValue;
        foreach (((int, bool) group, Queue<PlannedImage> images) in _ready)
        {
            if (images.Count >= least && images.Peek().Position < bestPosition)
            {
                best = group;
                bestPosition = images.Peek().Position;
            }
        }

        return best is { } chosen ? Take(chosen, _ready[chosen]) : null;
    }

    private DenoiseTask Take((int Steps, bool Guided) group, Queue<PlannedImage> images)
    {
        var batch = new List<PlannedImage>(_limits.BatchSize);
        while (batch.Count < _limits.BatchSize && images.TryDequeue(out PlannedImage? image))
        {
            batch.Add(image);
        }

        _readyImages -= batch.Count;
        if (images.Count == 0)
        {
            _ready.Remove(group);
        }

        return new DenoiseTask(group.Steps, group.Guided, batch);
    }

    private void Return(EncodeTask task)
    {
        _tasksOut--;
        _imagesBeingEncoded -= CountImages(task);
    }

    private static int CountImages(EncodeTask task)
    {
        int images = 0;
        foreach (PlannedPrompt prompt in task.Prompts)
        {
            images += prompt.Samples.Count;
        }

        return images;
    }
}
