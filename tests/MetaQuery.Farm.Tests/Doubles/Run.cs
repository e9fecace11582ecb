namespace MetaQuery.Farm.Tests.Doubles;

/// <summary>Shorthand for running jobs.</summary>
internal static class Run
{
    public static JobResult Job(ToyModel model, JobSpec spec, FarmOptions? options = null, CancellationToken cancellationToken = default) =>
        new EmbeddedFarm(model).RunAsync(spec, options ?? new FarmOptions { Slots = 2 }, progress: null, cancellationToken).GetAwaiter().GetResult();

    public static JobSpec Spec(string prompts, string outFolder) => new()
    {
        PromptFile = prompts,
        OutFolder = outFolder,
        ImagesPerPrompt = 3,
        SamplesPerShard = 7,
        Seed = 5,
    };

    /// <summary>Two duplicates, lines with settings of their own, one without guidance.</summary>
    public static readonly string[] MixedLines =
    [
        """{"prompt": "a red apple", "id": "a"}""",
        """{"prompt": "a green pear", "steps": 7}""",
        """{"prompt": "a red apple", "weight": 0.5}""",
        """{"prompt": "a blue cup", "seed": 99, "guidance": 2.5}""",
        """{"prompt": "a cat", "negative_prompt": "a dog"}""",
        """{"prompt": "a cat", "guidance": 1.0}""",
        """{"prompt": "ein Bär mit Hut", "steps": 7}""",
        """{"prompt": "a green pear"}""",
        """{"prompt": "a tree"}""",
    ];
}
