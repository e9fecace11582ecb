using System.Globalization;

namespace MetaQuery.Chaos;

/// <summary>A job that is run again and again under faults, and once, before, without any.</summary>
/// <param name="Name">For folders and messages.</param>
internal sealed record JobCase(
    string Name, string PromptFile, int Prompts, int ImagesPerPrompt, int Steps, double Guidance, ulong Seed, int SamplesPerShard, string Format, int BatchSize, string Priority)
{
    private static readonly string[] Things = ["a lighthouse", "a bowl of cherries", "an old tram", "a fox in the snow", "a paper boat", "a red barn"];

    public int Images => Prompts * ImagesPerPrompt;

    /// <summary>Two jobs that share batches and differ in what may differ: formats, guidance of a line, negative prompts, a prompt that comes twice.</summary>
    /// <param name="folder">Takes the prompt files.</param>
    /// <param name="prompts">Prompts of each.</param>
    /// <param name="steps">Denoising steps: how long a batch is in flight.</param>
    public static IReadOnlyList<JobCase> Create(string folder, int prompts, int steps)
    {
        var plain = Path.Combine(folder, "plain.txt");
        File.WriteAllLines(plain, Enumerable.Range(0, prompts).Select(i => $"{Things[i % Things.Length]} in the light of {i / Things.Length} lamps"));
        var mixed = Path.Combine(folder, "mixed.jsonl");
        File.WriteAllLines(mixed, Enumerable.Range(0, prompts).Select(i => (i % 4) switch
        {
            0 => $$"""{"prompt": "{{Things[i % Things.Length]}}, watercolour", "id": "m{{i}}"}""",
            1 => $$"""{"prompt": "{{Things[i % Things.Length]}} {{i}}", "negative_prompt": "people"}""",
            2 => $$"""{"prompt": "{{Things[i % Things.Length]}} {{i}}", "guidance": 1.0, "weight": 0.50}""",
            _ => $$"""{"prompt": "{{Things[i % Things.Length]}}, watercolour", "seed": {{i}}}""",
        }));
        return
        [
            new("plain", plain, prompts, ImagesPerPrompt: 2, steps, 4.5, Seed: 7, SamplesPerShard: prompts, "png", BatchSize: 4, "bulk"),
            new("mixed", mixed, prompts, ImagesPerPrompt: 2, steps, 3, Seed: 11, SamplesPerShard: prompts + 3, "webp", BatchSize: 4, "interactive"),
        ];
    }

    /// <summary>The embedded run of the same job.</summary>
    public string[] EmbeddedArguments(string model, string outFolder) =>
    [
        "job", "run", PromptFile, "--out", outFolder, "--model", model, "--images-per-prompt", Text(ImagesPerPrompt), "--steps", Text(Steps),
        "--guidance", Guidance.ToString(CultureInfo.InvariantCulture), "--seed", Seed.ToString(CultureInfo.InvariantCulture), "--shard-size", Text(SamplesPerShard),
        "--format", Format, "--batch-size", Text(BatchSize),
    ];

    private static string Text(int number) => number.ToString(CultureInfo.InvariantCulture);
}
