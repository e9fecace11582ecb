namespace MetaQuery.Benchmarks;

/// <summary>What is asked for: captions of different lengths, all within what Nano knows.</summary>
internal static class SamplePrompts
{
    public static IReadOnlyList<string> All { get; } =
    [
        "red heart, noto style",
        "pizza, twemoji style",
        "a noto emoji of dog face",
        "woman cook, dark skin tone, noto style",
        "flag of Japan",
        "a happy cat in the rain at night with an umbrella, twemoji style",
        "green apple, twemoji style",
        "rocket, noto style",
        "grinning face with smiling eyes, noto style",
        "fire engine, twemoji style",
        "four leaf clover, noto style",
        "police car, twemoji style",
        "sun with face, noto style",
        "thumbs up: medium skin tone, twemoji style",
        "blue book, noto style",
        "snowman, twemoji style",
    ];

    /// <summary>The first so many; from the beginning again, told apart by a number, where more are asked for.</summary>
    public static IReadOnlyList<string> Take(int count) =>
        [.. Enumerable.Range(0, count).Select(i => i < All.Count ? All[i] : $"{All[i % All.Count]}, number {i / All.Count}")];
}
