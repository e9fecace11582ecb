namespace MetaQuery.Farm;

/// <summary>What waits in a worker process for a slot, and what a free slot does next. State in, decisions out. Not thread-safe.</summary>
/// <remarks>One batch is ready for every slot ahead of time. Slots that serve both halves encode when no more images than that are to be had.</remarks>
/// <param name="options">Of the worker.</param>
/// <param name="batchSize">Rows of a denoising batch, until an image says otherwise.</param>
internal sealed class WorkPool(WorkerOptions options, int batchSize)
{
    private readonly BatchFormer<HeldItem> _images = new(held => (DenoiseItem)held.Item, options.Patience * options.Slots, options.FillsInteractiveBatches);
    private readonly List<HeldItem> _prompts = [];
    private readonly List<HeldItem> _putOff = [];
    private bool _isDenoising;
    private int _encoded;

    /// <summary>Rows of the batches that are to be filled.</summary>
    public int BatchSize { get; set; } = batchSize;

    /// <summary>Images wanted, besides those that are on their way.</summary>
    public int RoomForImages => (options.Slots * BatchSize) - _images.Count;

    /// <summary>Prompts wanted.</summary>
    public int RoomForPrompts => (options.EncodeBatchSize * (options.Roles == WorkRoles.Mllm ? options.Slots : 1)) - _prompts.Count - _putOff.Count;

    /// <summary>Interactive items wanted where there is no room for others.</summary>
    public int RoomForInteractive(WorkRoles role) => role == WorkRoles.Dit
        ? (options.Slots * BatchSize) - _images.InteractiveCount
        : options.EncodeBatchSize - _prompts.Count(IsInteractive) - _putOff.Count(IsInteractive);

    public void Add(HeldItem item)
    {
        if (item.Item is DenoiseItem)
        {
            _images.Add(item);
        }
        else
        {
            _prompts.Add(item);
        }
    }

    /// <summary>A prompt that somebody else encodes now: it is looked at again after a while.</summary>
    public void PutOff(HeldItem item) => _putOff.Add(item);

    public IReadOnlyList<HeldItem> TakePutOff()
    {
        HeldItem[] items = [.. _putOff];
        _putOff.Clear();
        return items;
    }

    public IReadOnlyList<HeldItem> Remove(Predicate<HeldItem> which)
    {
        HeldItem[] removed = [.. _images.Remove(which), .. _prompts.Where(item => which(item)), .. _putOff.Where(item => which(item))];
        _prompts.RemoveAll(which);
        _putOff.RemoveAll(which);
        return removed;
    }

    /// <summary>The next batch for a free slot.</summary>
    /// <param name="isDry">Whether the queue had no more images the last time.</param>
    /// <param name="moreMayCome">Whether images are on their way that could fill a batch.</param>
    /// <param name="promptsAreDry">Whether the queue had no more prompts the last time.</param>
    /// <param name="busy">What other slots compute: where turns are taken, nobody gets what needs the other half, for which it would wait in its slot.</param>
    /// <returns>Items of one role; null where it is better to wait, or nothing is there.</returns>
    public IReadOnlyList<HeldItem>? Choose(bool isDry, bool moreMayCome, bool promptsAreDry = false, WorkRoles busy = WorkRoles.None)
    {
        if (options.EncodeWindow is { } window)
        {
            return ChooseInTurns(window, isDry, moreMayCome, promptsAreDry, busy);
        }

        if (_prompts.Count == 0 || _images.HasUrgent)
        {
            return _images.Take(moreMayCome);
        }

        // only new conditions can bring more images than these
        bool isLow = isDry && RoomForImages > 0;
        return isLow || !_images.HasFull || _prompts.Exists(IsInteractive) ? TakePrompts() : _images.Take(moreMayCome);
    }

    /// <summary>A window of prompts, then all images that are to be had, and so on: each change of halves loads one.</summary>
    private IReadOnlyList<HeldItem>? ChooseInTurns(int window, bool isDry, bool moreMayCome, bool promptsAreDry, WorkRoles busy)
    {
        if (_isDenoising)
        {
            if (_images.Take(moreMayCome) is { } images)
            {
                return images;
            }

            if (_prompts.Count == 0 || _images.Count > 0 || moreMayCome || !isDry || busy.HasFlag(WorkRoles.Dit))
            {
                return null;
            }

            (_isDenoising, _encoded) = (false, 0);
        }

        if (_prompts.Count > 0 && _encoded < window)
        {
            HeldItem[] prompts = TakePrompts();
            _encoded += prompts.Length;
            return prompts;
        }

        // prompts that are only on their way are waited for: they are cheaper now than after two changes
        IReadOnlyList<HeldItem>? first = (promptsAreDry || _encoded >= window) && !busy.HasFlag(WorkRoles.Mllm) ? _images.Take(moreMayCome) : null;
        _isDenoising = first is not null;
        return first;
    }

    private static bool IsInteractive(HeldItem item) => item.Item.Priority == JobPriority.Interactive;

    private static bool IsSingle(HeldItem item) => item.Item.RunsSingly || item.Item.RunsAlone;

    private HeldItem[] TakePrompts()
    {
        HeldItem first = _prompts.Find(IsInteractive) ?? _prompts[0];
        // somebody waits for an interactive prompt: it does not wait for the bulk ones beside it
        HeldItem[] rows = IsSingle(first)
            ? [first]
            : [.. _prompts.Where(prompt => !IsSingle(prompt) && prompt.Item.Priority == first.Item.Priority && prompt.Item.Timeout == first.Item.Timeout).Take(options.EncodeBatchSize)];
        _prompts.RemoveAll(prompt => rows.Contains(prompt));
        return rows;
    }
}
