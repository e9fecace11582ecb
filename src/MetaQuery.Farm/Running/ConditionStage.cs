namespace MetaQuery.Farm;

/// <summary>What went through a job's encoders.</summary>
internal sealed class EncoderCounters
{
    private long _calls;
    private long _passes;

    public long Calls => Interlocked.Read(ref _calls);

    /// <summary>Prompts encoded.</summary>
    public long Passes => Interlocked.Read(ref _passes);

    public void AddCall() => Interlocked.Increment(ref _calls);

    public void AddPasses(int prompts) => Interlocked.Add(ref _passes, prompts);
}

/// <summary>One slot's way from prompts to conditions: the cache first, the slot's encoder for what it lacks.</summary>
/// <param name="plan">The job.</param>
/// <param name="cache">Shared by all slots.</param>
/// <param name="encoder">The slot's own.</param>
/// <param name="counters">Shared by all slots.</param>
/// <param name="keepAll">Keep every condition on disk, not only those that this job needs again.</param>
internal sealed class ConditionStage(JobPlan plan, ConditionCache cache, IConditionEncoder encoder, EncoderCounters counters, bool keepAll)
{
    private readonly ConditionKey.KeyMaker _keys = new(encoder.Identity);

    public PromptConditions[] Get(IReadOnlyList<PlannedPrompt> prompts, CancellationToken cancellationToken)
    {
        var lookups = new List<ConditionLookup>();
        foreach (PlannedPrompt prompt in prompts)
        {
            lookups.Add(Lookup(prompt.Line.Prompt, isNegative: false));
            if (prompt.Settings.IsGuided)
            {
                lookups.Add(Lookup(prompt.Settings.NegativePrompt, isNegative: true));
            }
        }

        byte[][] conditions = cache.GetOrEncode(lookups, Encode, cancellationToken);
        int next = 0;
        var results = new PromptConditions[prompts.Count];
        for (int i = 0; i < results.Length; i++)
        {
            byte[] condition = conditions[next++];
            results[i] = new PromptConditions(condition, prompts[i].Settings.IsGuided ? conditions[next++] : ReadOnlyMemory<byte>.Empty);
        }

        return results;
    }

    private ConditionLookup Lookup(string caption, bool isNegative)
    {
        var request = new ConditionRequest(caption);
        ConditionKey key = _keys.Create(request);
        return new ConditionLookup(key, request, isNegative || keepAll || plan.IsRepeated(caption));
    }

    private IReadOnlyList<byte[]> Encode(IReadOnlyList<ConditionRequest> requests, CancellationToken cancellationToken)
    {
        counters.AddCall();
        IReadOnlyList<byte[]> conditions = encoder.Encode(requests, cancellationToken);
        int due = plan.Conditions.ConditionBytes;
        if (conditions.Count != requests.Count || conditions.Any(condition => condition.Length != due))
        {
            throw new InvalidOperationException(
                $"the encoder gave {conditions.Count} conditions for {requests.Count} prompts, of {string.Join(", ", conditions.Select(condition => condition.Length).Distinct())} bytes where {due} were due");
        }

        counters.AddPasses(requests.Count);
        return conditions;
    }
}
