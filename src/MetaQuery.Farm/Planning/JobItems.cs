namespace MetaQuery.Farm;

/// <summary>Makes the work items of one job: names, seeds, keys. Not thread-safe.</summary>
internal sealed class JobItems
{
    private readonly string _jobId;
    private readonly ResolvedSettings _settings;
    private readonly JobPriority _priority;
    private readonly TimeSpan? _timeout;
    private readonly Func<long, string> _sampleKey;
    private readonly Func<ConditionRequest, bool> _isRepeated;
    private readonly bool _keepAll;
    private readonly ConditionKey.KeyMaker _keys;
    private (string Text, ConditionKey Key)? _lastNegative; // nearly always the job's one

    /// <param name="jobId">The job's id.</param>
    /// <param name="plan">The job.</param>
    /// <param name="priority">Its class.</param>
    /// <param name="timeout">Longest time of a batch; null for the worker's limit.</param>
    /// <param name="keepAll">Keep every condition on disk, not only those that this job needs again.</param>
    public JobItems(string jobId, JobPlan plan, JobPriority priority, TimeSpan? timeout, bool keepAll)
    {
        _jobId = jobId;
        _settings = plan.Settings;
        _priority = priority;
        _timeout = timeout;
        _sampleKey = plan.Layout.Key;
        _isRepeated = plan.IsRepeated;
        _keepAll = keepAll;
        _keys = new ConditionKey.KeyMaker(plan.Conditions);
    }

    /// <summary>Names a prompt's conditions.</summary>
    public PromptKeys Keys(in PromptRequests requests) => new(
        _keys.Create(requests.Condition), requests.Negative is { } negative ? NegativeKey(negative) : null,
        requests.Images is { } images ? _keys.Create(images) : null);

    public EncodeItem Encode(ConditionKey key, ConditionRequest request, bool isNegative) =>
        new(key, request, KeepOnDisk: isNegative || _keepAll || _isRepeated(request)) { Priority = _priority, Timeout = _timeout };

    public long Position(PlannedPrompt prompt, int sample) => PromptStream.Address(_settings, prompt, sample).Position;

    public DenoiseItem Denoise(PlannedPrompt prompt, int sample, in PromptKeys keys)
    {
        (long position, ulong seed) = PromptStream.Address(_settings, prompt, sample);
        return new DenoiseItem(
            _jobId, position, _sampleKey(position), prompt.Line, prompt.Settings, sample, seed, keys.Condition, keys.Negative, _settings.Size, _settings.BatchSize,
            _settings.Format, _settings.Quality)
        {
            Priority = _priority,
            Timeout = _timeout,
            ImageCondition = keys.Images,
        };
    }

    private ConditionKey NegativeKey(ConditionRequest request)
    {
        if (request.ImageHashes.Count > 0)
        {
            return _keys.Create(request);
        }

        if (_lastNegative is not { } last || last.Text != request.Caption)
        {
            _lastNegative = last = (request.Caption, _keys.Create(request));
        }

        return last.Key;
    }
}
