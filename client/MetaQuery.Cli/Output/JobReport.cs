using System.Globalization;
using MetaQuery.Data;
using MetaQuery.Farm;

namespace MetaQuery.Cli.Output;

/// <summary>What a job came to, on stdout; what went wrong with single lines or samples, on stderr.</summary>
internal static class JobReport
{
    /// <returns>The exit code.</returns>
    public static int Write(JobSpec spec, JobResult result)
    {
        Skipped(result.SkippedLines);
        foreach (var failed in result.FailedSamples)
        {
            Console.Error.WriteLine(Failure.OneLine($"failed: {failed.Key}: {failed.Reason}"));
        }

        var progress = result.Progress;
        if (result.State == JobState.Cancelled)
        {
            Console.Error.WriteLine($"farm: stopped at {progress.Written} of {progress.Images} images; the same command goes on from there");
            return result.ExitCode;
        }

        var stats = result.Stats;
        Console.WriteLine(stats.Images > 0
            ? string.Create(CultureInfo.InvariantCulture, $"{progress.Written} images in {spec.OutFolder}: {stats.Images} made now at {stats.ImagesPerSecond:0.0} images/s, {stats.ConditionPasses} condition passes")
            : $"{progress.Written} images in {spec.OutFolder}: complete already, nothing to do");
        if (result.ContactSheet is { } sheet)
        {
            Console.WriteLine($"contact sheet: {sheet}");
        }

        if (progress.Failed > 0)
        {
            Console.Error.WriteLine($"farm: {progress.Failed} images were given up; {Path.Combine(spec.OutFolder, "*_failed.jsonl")} list them, --retry-failed tries them again");
        }

        return result.ExitCode;
    }

    public static void Write(JobSpec spec, JobPlanSummary plan)
    {
        Skipped(plan.SkippedLines);
        var settings = plan.Settings;
        Console.WriteLine($"prompts:        {plan.Prompts} ({plan.UniquePrompts} to encode, and {plan.UniqueNegativePrompts} negative ones)");
        if (plan.PromptsWithPictures > 0)
        {
            foreach (var line in plan.UnusableLines)
            {
                Console.Error.WriteLine(Failure.OneLine("cannot be made: " + line));
            }

            var unusable = plan.UnusablePrompts > 0 ? $", {plan.UnusablePrompts} of them cannot be made" : "";
            Console.WriteLine($"with pictures:  {plan.PromptsWithPictures} prompts{unusable}");
        }

        Console.WriteLine($"images:         {plan.Images} ({settings.ImagesPerPrompt} per prompt), {plan.AlreadyCommitted} of them made already");
        Console.WriteLine($"shards:         {plan.Shards} of up to {settings.SamplesPerShard} samples, about {Sizes.Bytes(plan.EstimatedBytes)} in {spec.OutFolder}");
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"settings:       {settings.Size}, {settings.NumInferenceSteps} steps, guidance {settings.GuidanceScale}, seed {settings.Seed}, {settings.Format.ToString().ToLowerInvariant()}, batches of {settings.BatchSize}"));
        Console.WriteLine("nothing was made (--dry-run)");
    }

    private static void Skipped(IReadOnlyList<string> lines)
    {
        foreach (var line in lines)
        {
            Console.Error.WriteLine(Failure.OneLine("skipped: " + line));
        }
    }
}
