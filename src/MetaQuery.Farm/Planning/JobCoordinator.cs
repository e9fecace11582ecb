namespace MetaQuery.Farm;

/// <summary>Decides what of a job is handed out next, one condition or one image at a time. State in, decisions out: no clock, thread, file or tensor.</summary>
/// <remarks>
/// Prompts come as a stream and are read only so far ahead as <see cref="PlanAhead"/> is told. Not thread-safe: its session calls it under one lock.
/// Every image of the stream is in exactly one of: not read yet, waiting for a condition, ready, out, done.
/// </remarks>
internal sealed class JobCoordinator
{
    private const int MostAbandonedAtOnce = 4096; // so that lines that cannot be made do not pile up, nor hold up those that can

    private readonly IEnumerator<PlannedPrompt> _source;
    private readonly JobItems _items;
    private readonly Func<long, bool> _isSettled;
    private readonly Queue<EncodeItem> _unasked = new();
    private readonly Dictionary<ConditionKey, Waiting> _waiting = [];
    private readonly Queue<Prompt> _ready = new();
    private readonly Queue<DenoiseItem> _again = new();
    private readonly Dictionary<long, DenoiseItem> _out = [];
    private readonly HashSet<long> _handedOutBefore = [];
    private int _waitingPrompts;
    private bool _sourceEnded;

    /// <param name="source">Prompts with images to make, in ascending order.</param>
    /// <param name="items">Makes the job's items.</param>
    /// <param name="isSettled">Whether an image is committed or given up already: it is not handed out (again).</param>
    public JobCoordinator(IEnumerator<PlannedPrompt> source, JobItems items, Func<long, bool> isSettled)
    {
        _source = source;
        _items = items;
        _isSettled = isSettled;
    }

    /// <summary>Nothing is left to hand out and nothing is out.</summary>
    public bool IsFinished => _sourceEnded && _waiting.Count == 0 && _ready.Count == 0 && _again.Count == 0 && _out.Count == 0;

    /// <summary>Images read but not handed out.</summary>
    public long ImagesAhead { get; private set; }

    /// <summary>Images read, handed out or not.</summary>
    public long ImagesPlanned { get; private set; }

    /// <summary>Of these: whose conditions were there at least once.</summary>
    public long ImagesEncoded { get; private set; }

    /// <summary>Prompts whose conditions were there.</summary>
    public long PromptsEncoded { get; private set; }

    public int ImagesOut => _out.Count;

    public bool IsOut(long position) => _out.ContainsKey(position);

    /// <summary>Images that can be handed out at once.</summary>
    public bool HasReadyImages => _again.Count > 0 || _ready.Count > 0;

    public bool SourceEnded => _sourceEnded;

    /// <summary>Reads prompts once fewer than <paramref name="least"/> images are ahead, and then until <paramref name="most"/> are: encoders get them in bursts that fill a batch.</summary>
    /// <returns>Images of prompts that cannot be made: given up at once.</returns>
    public IReadOnlyList<AbandonedImage> PlanAhead(long least, long most, int mostPrompts)
    {
        if (_sourceEnded || ImagesAhead >= least)
        {
            return [];
        }

        var abandoned = new List<AbandonedImage>();

        while (ImagesAhead < most && abandoned.Count < MostAbandonedAtOnce && _waitingPrompts + _ready.Count < mostPrompts)
        {
            if (!_source.MoveNext())
            {
                _sourceEnded = true;
                break;
            }

            PlannedPrompt line = _source.Current;
            ImagesPlanned += line.Samples.Count;
            abandoned.AddRange(Plan(line, isAgain: false));
        }

        return abandoned;
    }

    /// <summary>Images that were done are to be made once more.</summary>
    /// <param name="prompts">Their prompts, each with these images alone.</param>
    /// <returns>Those that cannot be made: given up at once.</returns>
    public IReadOnlyList<AbandonedImage> MakeAgain(IEnumerable<PlannedPrompt> prompts)
    {
        var abandoned = new List<AbandonedImage>();
        foreach (PlannedPrompt prompt in prompts)
        {
            foreach (int sample in prompt.Samples)
            {
                _handedOutBefore.Remove(_items.Position(prompt, sample));
            }

            abandoned.AddRange(Plan(prompt, isAgain: true));
        }

        return abandoned;
    }

    /// <summary>A condition to ask for: each once, until <see cref="Encoded"/> or <see cref="EncodeFailed"/> ends it.</summary>
    public EncodeItem? NextEncode() => _unasked.TryDequeue(out EncodeItem? item) ? item : null;

    /// <summary>The next image whose conditions are there; null where none is.</summary>
    public DenoiseItem? NextDenoise()
    {
        while (_again.TryDequeue(out DenoiseItem? again))
        {
            ImagesAhead--;
            if (!_isSettled(again.Position))
            {
                _out[again.Position] = again;
                return again;
            }
        }

        while (_ready.TryPeek(out Prompt? prompt))
        {
            int sample = prompt.Line.Samples[prompt.Next++];
            ImagesAhead--;
            if (prompt.Next == prompt.Line.Samples.Count)
            {
                _ready.Dequeue();
            }

            long position = _items.Position(prompt.Line, sample);
            if (!_isSettled(position) && !_handedOutBefore.Contains(position) && !_out.ContainsKey(position)) // out: made again before its line was read
            {
                DenoiseItem item = _items.Denoise(prompt.Line, sample, prompt.Keys);
                _out.Add(position, item);
                return item;
            }
        }

        return null;
    }

    /// <summary>A condition is in the cache: what waited for it goes on.</summary>
    public void Encoded(ConditionKey key)
    {
        if (!_waiting.Remove(key, out Waiting? waiting))
        {
            return;
        }

        foreach (Prompt prompt in waiting.Prompts)
        {
            if (--prompt.Missing == 0 && !prompt.IsDropped)
            {
                _waitingPrompts--;
                _ready.Enqueue(prompt);
                ImagesEncoded += prompt.IsAgain ? 0 : prompt.Line.Samples.Count;
                PromptsEncoded += prompt.IsAgain ? 0 : 1;
            }
        }

        foreach (DenoiseItem image in waiting.Images)
        {
            _again.Enqueue(image);
        }
    }

    /// <summary>A condition cannot be made: all images that wait for it are given up.</summary>
    public IReadOnlyList<AbandonedImage> EncodeFailed(ConditionKey key, string reason)
    {
        if (!_waiting.Remove(key, out Waiting? waiting))
        {
            return [];
        }

        var abandoned = new List<AbandonedImage>();
        foreach (Prompt prompt in waiting.Prompts.Where(prompt => !prompt.IsDropped))
        {
            prompt.IsDropped = true; // it may still wait for its other condition
            _waitingPrompts--;
            ImagesAhead -= prompt.Line.Samples.Count;
            abandoned.AddRange(prompt.Line.Samples
                .Select(sample => new AbandonedImage(_items.Position(prompt.Line, sample), prompt.Line.Line, sample, reason))
                .Where(image => !_handedOutBefore.Contains(image.Position))); // whoever holds it may have what it needs
        }

        ImagesAhead -= waiting.Images.Count;
        abandoned.AddRange(waiting.Images.Select(image => new AbandonedImage(image.Position, image.Prompt, image.SampleIndex, reason)));
        return abandoned;
    }

    /// <summary>An image is made or given up: it is out no more.</summary>
    public void Done(long position) => _out.Remove(position);

    /// <summary>An image that was out comes back: returned, lost, or to be tried again. Unknown ones are not taken.</summary>
    /// <param name="item">As it shall be handed out next.</param>
    public void TakeBack(DenoiseItem item)
    {
        if (_out.Remove(item.Position))
        {
            _again.Enqueue(item);
            ImagesAhead++;
        }
    }

    /// <summary>An image that was out lacks a condition: it waits until that is made again.</summary>
    public void MissingCondition(DenoiseItem item, ConditionKey key)
    {
        if (!_out.Remove(item.Position))
        {
            return;
        }

        ImagesAhead++;
        PromptRequests requests = PromptRequests.Of(item.Prompt, item.Settings);
        (ConditionRequest request, bool isNegative) = key == item.Condition ? (requests.Condition, false)
            : key == item.ImageCondition ? (requests.Images!, false)
            : (requests.Negative!, true);
        WaitFor(key, request, isNegative).Images.Add(item);
    }

    /// <summary>All that is out comes back: the queue lost it, or the job is paused.</summary>
    public void TakeAllBack()
    {
        foreach (DenoiseItem item in _out.Values.OrderBy(item => item.Position).ToList())
        {
            TakeBack(item);
        }
    }

    /// <summary>Before anything is handed out: images that a head before this one handed out and that workers still hold.</summary>
    public void MarkOut(DenoiseItem item)
    {
        if (!_isSettled(item.Position) && _handedOutBefore.Add(item.Position))
        {
            _out.Add(item.Position, item);
        }
    }

    /// <returns>Its images, where they cannot be made.</returns>
    private IEnumerable<AbandonedImage> Plan(PlannedPrompt line, bool isAgain)
    {
        if (line.Fault is { } fault)
        {
            return line.Samples.Select(sample => new AbandonedImage(_items.Position(line, sample), line.Line, sample, fault));
        }

        PromptRequests requests = PromptRequests.Of(line.Line, line.Settings);
        var prompt = new Prompt(line, _items.Keys(requests)) { IsAgain = isAgain };
        ImagesAhead += line.Samples.Count;
        _waitingPrompts++;
        Await(prompt, prompt.Keys.Condition, requests.Condition, isNegative: false);
        Await(prompt, prompt.Keys.Images, requests.Images, isNegative: false);
        Await(prompt, prompt.Keys.Negative, requests.Negative, isNegative: true);
        return [];
    }

    private void Await(Prompt prompt, ConditionKey? key, ConditionRequest? request, bool isNegative)
    {
        if (key is not { } named)
        {
            return;
        }

        List<Prompt> waiting = WaitFor(named, request!, isNegative).Prompts;
        if (waiting.Count == 0 || waiting[^1] != prompt) // two branches may have one condition
        {
            prompt.Missing++;
            waiting.Add(prompt);
        }
    }

    private Waiting WaitFor(ConditionKey key, ConditionRequest request, bool isNegative)
    {
        if (!_waiting.TryGetValue(key, out Waiting? waiting))
        {
            _waiting.Add(key, waiting = new Waiting());
            _unasked.Enqueue(_items.Encode(key, request, isNegative));
        }

        return waiting;
    }

    private sealed class Waiting
    {
        public List<Prompt> Prompts { get; } = [];
        public List<DenoiseItem> Images { get; } = [];
    }

    private sealed class Prompt(PlannedPrompt line, PromptKeys keys)
    {
        public PlannedPrompt Line { get; } = line;
        public PromptKeys Keys { get; } = keys;
        public bool IsAgain { get; init; }
        public int Missing { get; set; }
        public int Next { get; set; }
        public bool IsDropped { get; set; }
    }
}
