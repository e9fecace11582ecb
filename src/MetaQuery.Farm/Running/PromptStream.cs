using MetaQuery.Data;

namespace MetaQuery.Farm;

/// <summary>A job's prompts that still have images to make, with the settings that hold for each.</summary>
internal static class PromptStream
{
    public static IEnumerable<PlannedPrompt> Read(JobPlan plan, Func<long, bool> isSettled, Action onLine)
    {
        ResolvedSettings settings = plan.Settings;
        using PictureWalk? walk = plan.Pictures?.Walk();
        foreach (PromptLine line in plan.Source.Read())
        {
            onLine();
            LinePictures pictures = walk?.Of(line) ?? default;
            long first = line.Index * settings.ImagesPerPrompt;
            var samples = new List<int>();
            for (int sample = 0; sample < settings.ImagesPerPrompt; sample++)
            {
                if (!isSettled(first + sample))
                {
                    samples.Add(sample);
                }
            }

            if (samples.Count > 0)
            {
                yield return line.Images.Count == 0
                    ? new PlannedPrompt(line, settings.Of(line), samples)
                    : new PlannedPrompt(pictures.On(line), settings.Of(line), samples) { Fault = pictures.Fault };
            }
        }
    }

    /// <summary>The prompts of some images, with these images alone.</summary>
    /// <exception cref="PromptFileException">The prompt file changed or cannot be read.</exception>
    public static IReadOnlyList<PlannedPrompt> Find(JobPlan plan, IReadOnlySet<long> positions) =>
        [.. Read(plan, position => !positions.Contains(position), static () => { })];

    /// <summary>Place in the job and seed of a prompt's sample.</summary>
    public static (long Position, ulong Seed) Address(ResolvedSettings settings, PlannedPrompt prompt, int sample) =>
        ((prompt.Line.Index * settings.ImagesPerPrompt) + sample,
            prompt.Line.Seed is { } own ? ImageSeed.ForLine(own, sample) : ImageSeed.ForPrompt(settings.Seed, prompt.Line.Index, sample));
}
