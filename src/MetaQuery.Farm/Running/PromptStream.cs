using MetaQuery.Data;

namespace MetaQuery.Farm;

/// <summary>A job's prompts that still have images to make, with the settings that hold for each.</summary>
internal static class PromptStream
{
    public static IEnumerable<PlannedPrompt> Read(JobPlan plan, ISampleStore store, Action onLine)
    {
        ResolvedSettings settings = plan.Settings;
        foreach (PromptLine line in plan.Source.Read())
        {
            onLine();
            long first = line.Index * settings.ImagesPerPrompt;
            var samples = new List<int>();
            for (int sample = 0; sample < settings.ImagesPerPrompt; sample++)
            {
                if (!store.IsSettled(first + sample))
                {
                    samples.Add(sample);
                }
            }

            if (samples.Count > 0)
            {
                yield return new PlannedPrompt(line, new LineSettings(
                    line.NumInferenceSteps ?? settings.NumInferenceSteps, line.GuidanceScale ?? settings.GuidanceScale,
                    line.NegativePrompt ?? settings.NegativePrompt), samples);
            }
        }
    }

    /// <summary>Place in the job and seed of a prompt's sample.</summary>
    public static (long Position, ulong Seed) Address(ResolvedSettings settings, PlannedPrompt prompt, int sample) =>
        ((prompt.Line.Index * settings.ImagesPerPrompt) + sample,
            prompt.Line.Seed is { } own ? ImageSeed.ForLine(own, sample) : ImageSeed.ForPrompt(settings.Seed, prompt.Line.Index, sample));
}
