namespace MetaQuery.Benchmarks;

/// <summary>What to measure and how often.</summary>
/// <param name="Model">The model's folder.</param>
/// <param name="Dtype">What our side computes in: float32 or bfloat16.</param>
/// <param name="Rounds">How often the two sides take turns; ratios are medians over the rounds.</param>
/// <param name="Prompts">Prompts of a bulk run.</param>
/// <param name="Parts">The parts to measure; empty means all.</param>
/// <param name="PeerPython">The interpreter that has the peer's torch.</param>
internal sealed record BenchmarkOptions(
    string Model, string Dtype, int Rounds, int Prompts, IReadOnlyList<string> Parts, string PeerPython)
{
    public const int ImagesPerPrompt = 4;
    public const int NumInferenceSteps = 20;
    public const double GuidanceScale = 4.5;

    public static IReadOnlyList<string> AllParts { get; } =
        ["gemm", "condition", "step", "decode", "bulk", "slots", "quality", "start", "overhead", "scale"];

    /// <summary>Modules of the part "scale"; empty means all.</summary>
    public IReadOnlyList<string> Modules { get; init; } = [];

    /// <summary>Threads of the part "scale".</summary>
    public int Threads { get; init; } = Environment.ProcessorCount;

    /// <summary>Tokens of the prompt before the queries, in the part "scale".</summary>
    public int PromptTokens { get; init; } = 300;

    /// <summary>The parts of a model that is not the shipped one: the peer reads that one alone.</summary>
    public static IReadOnlyList<string> OtherModelParts { get; } = ["scale"];

    public bool Includes(string part) => (Parts.Count == 0 && part != "scale") || Parts.Contains(part);
}
